import { describe, expect, test } from "vitest";
import { Batching } from "../batching.ts";
import { begun, phaseNames, shownText } from "./dialogue.ts";
import { delta, input, last, open, openText, openTool, PING, STOP, shut, start, text } from "./events.ts";
import { ManualFrames } from "./scripted.ts";

async function streaming(...opening: string[]) {
  const dialogue = await begun();
  const asked = dialogue.world.request(0);
  await asked.open();
  await asked.send(...opening);
  dialogue.world.frames.next();
  dialogue.batches.length = 0;
  return { ...dialogue, asked, frames: dialogue.world.frames };
}

test("a thousand deltas are one batch per frame", async () => {
  const { asked, frames, batches } = await streaming(start(), openText());
  const before = frames.asked;
  for (let at = 0; at < 1000; at += 100) await asked.send(Array.from({ length: 100 }, () => text("a")).join(""));
  expect(batches).toHaveLength(0);
  frames.next();
  expect(frames.asked).toBe(before + 1);
  expect(batches).toHaveLength(1);
  expect(batches[0]?.changes[0]).toMatchObject({ index: 0, added: "a".repeat(1000), isNew: false, isClosed: false });
  await asked.send(text("b"));
  frames.next();
  expect(batches).toHaveLength(2);
});

test("keep-alives, empty and unknown deltas make no batch and ask for no frame", async () => {
  const { asked, frames, batches } = await streaming(start(), openText(), text("a"));
  const before = frames.asked;
  await asked.send(PING, text(""), ": comment\n\n", delta(0, { type: "later_delta" }));
  frames.next();
  expect(batches).toHaveLength(0);
  expect(frames.asked).toBe(before);
});

describe("a batch", () => {
  test("holds what was added to each block, and the blocks that did not change as they were", async () => {
    const { asked, frames, batches } = await streaming(start(), openText(), text("Hel"));
    await asked.send(text("lo"), shut(), openTool(1), input('{"a"', 1));
    frames.next();
    await asked.send(input(":1}", 1));
    frames.next();
    expect(batches[0]?.changes).toMatchObject([
      { index: 0, added: "lo", isNew: false, isClosed: true, block: { text: "Hello" }, inputJson: "" },
      { index: 1, added: '{"a"', isNew: true, isClosed: false, inputJson: '{"a"' },
    ]);
    expect(batches[1]?.changes).toMatchObject([{ index: 1, added: ":1}", isNew: false, inputJson: '{"a":1}' }]);
    expect(batches[1]?.message.content[0]).toBe(batches[0]?.message.content[0]);
  });

  test("tells thinking, and a signature that adds nothing to read", async () => {
    const { asked, frames, batches } = await streaming(start(), open(0, { type: "thinking", thinking: "" }));
    await asked.send(delta(0, { type: "thinking_delta", thinking: "Hm" }));
    frames.next();
    await asked.send(delta(0, { type: "signature_delta", signature: "s" }));
    frames.next();
    expect(batches.map((batch) => batch.changes[0]?.added)).toEqual(["Hm", ""]);
  });

  test("comes for usage and stop reason too, with the counters", async () => {
    const { asked, frames, batches } = await streaming(start(), openText(), text("a"), shut());
    await asked.send(last("end_turn", 7));
    frames.next();
    const told = { changes: [], message: { stop_reason: "end_turn" }, progress: { outputTokens: 7 } };
    expect(batches).toMatchObject([told]);
    await asked.send(STOP);
    frames.next();
    expect(batches).toHaveLength(1);
  });
});

test("a state is handed out once, with the one before it", () => {
  const frames = new ManualFrames();
  const handed: [number, number][] = [];
  const batching = new Batching(0, frames.schedule, (before, after) => handed.push([before, after]));
  batching.offer(0);
  expect(frames.asked).toBe(0);
  batching.offer(1);
  batching.offer(2);
  batching.flush();
  batching.flush();
  frames.next();
  batching.offer(2);
  expect(frames.asked).toBe(1);
  batching.offer(3);
  frames.next();
  expect(handed).toEqual([
    [0, 2],
    [2, 3],
  ]);
});

test("the last batch comes before the ending, frame or no frame, and says that it is the last", async () => {
  const { asked, frames, batches, stream } = await streaming(start(), openText());
  await asked.send(text("a"));
  frames.next();
  await asked.send(text("b"), shut(), last(), STOP);
  const ending = await stream.ended;
  expect(batches.map((batch) => batch.isLast)).toEqual([false, true]);
  expect(batches[1]?.message).toBe(ending.message);
});

test("a callback that raises ends nothing", async () => {
  const raised: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (problem) => raised.push(problem));
  try {
    const problem = new Error("of the page");
    const dialogue = await begun({
      onBatch: () => {
        throw problem;
      },
    });
    const asked = dialogue.world.request(0);
    await asked.open();
    await asked.send(start(), openText(), text("a"), shut(), last(), STOP);
    expect(dialogue.ending?.kind).toBe("whole");
    expect(raised).toEqual([problem]);
    expect(phaseNames(dialogue).at(-1)).toBe("ended");
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
});

test("nothing is told before openStream returns", async () => {
  const dialogue = await begun();
  expect(shownText(dialogue)).toBe("");
  expect(phaseNames(dialogue)).toEqual(["connecting"]);
});
