import { expect, test } from "vitest";
import { begun, phaseNames, shownText } from "./dialogue.ts";
import { answer, openText, start, text } from "./events.ts";
import { settled } from "./scripted.ts";

test("before the request is made", async () => {
  const controller = new AbortController();
  controller.abort();
  const dialogue = await begun({ signal: controller.signal });
  expect(dialogue.ending).toMatchObject({ kind: "stopped", message: null, canContinue: false });
  expect(dialogue.world.asked).toHaveLength(0);
});

test("while nobody has answered", async () => {
  const dialogue = await begun();
  dialogue.stream.stop();
  await settled();
  expect(dialogue.ending).toMatchObject({ kind: "stopped", message: null });
  expect(dialogue.world.request(0).wasLeft).toBe(true);
  expect(dialogue.world.clock.timerCount).toBe(0);
});

test("while it waits to ask again", async () => {
  const dialogue = await begun();
  await dialogue.world.request(0).fail();
  dialogue.stream.stop();
  await settled();
  expect(dialogue.ending?.kind).toBe("stopped");
  expect(dialogue.world.clock.timerCount).toBe(0);
  await dialogue.world.pass(60_000);
  expect(dialogue.world.asked).toHaveLength(1);
  expect(phaseNames(dialogue)).toEqual(["connecting", "retrying", "ended"]);
});

test("while it waits for content", async () => {
  const dialogue = await begun();
  await dialogue.world.request(0).open();
  await dialogue.world.request(0).send(start());
  dialogue.stream.stop();
  await settled();
  expect(dialogue.ending).toMatchObject({ kind: "stopped", message: { content: [] }, canContinue: false });
  expect(dialogue.world.request(0).wasLeft).toBe(true);
});

test("while it is resumed", async () => {
  const dialogue = await begun();
  await dialogue.world.request(0).open({ "x-ezai-stream-id": "s1" });
  await dialogue.world.request(0).send(start(1) + openText(0, 2) + text("Half", 0, 3));
  await dialogue.world.request(0).reset();
  await dialogue.world.pass(375);
  expect(phaseNames(dialogue).at(-1)).toBe("resuming");
  dialogue.stream.stop();
  await settled();
  expect(dialogue.ending).toMatchObject({
    kind: "stopped",
    message: { content: [{ text: "Half" }] },
    canContinue: true,
  });
  expect(dialogue.world.request(1).wasLeft).toBe(true);
  expect(dialogue.world.request(2).method).toBe("DELETE");
});

test("while it streams: what came is kept and shown, and can be continued", async () => {
  const dialogue = await begun();
  const asked = dialogue.world.request(0);
  await asked.open();
  await asked.send(start(), openText(), text("Half"));
  dialogue.stream.stop();
  await settled();
  expect(dialogue.ending).toMatchObject({
    kind: "stopped",
    message: { content: [{ text: "Half" }] },
    canContinue: true,
  });
  expect(shownText(dialogue)).toBe("Half");
  expect(asked.wasLeft).toBe(true);
  expect(dialogue.world.asked).toHaveLength(1);
});

test("from within a batch: nothing more is read", async () => {
  const world = await begun({
    onPhase: (phase) => {
      if (phase.name === "streaming") world.stream.stop();
    },
  });
  await world.world.request(0).open();
  await world.world.request(0).send(start() + openText() + text("not read"));
  expect(world.ending).toMatchObject({ kind: "stopped", message: { content: [{ text: "" }] } });
});

test("by the signal", async () => {
  const controller = new AbortController();
  const dialogue = await begun({ signal: controller.signal });
  await dialogue.world.request(0).open();
  controller.abort();
  await settled();
  expect(dialogue.ending?.kind).toBe("stopped");
});

test("after the end does nothing", async () => {
  const dialogue = await begun();
  await dialogue.world.request(0).open({ "x-ezai-stream-id": "s1" });
  await dialogue.world.request(0).send(answer("Hello"));
  dialogue.stream.stop();
  await settled();
  expect(dialogue.ending?.kind).toBe("whole");
  expect(dialogue.world.asked).toHaveLength(1);
});

test("a stream with an id is stopped by it, since the gateway may keep it for its reader", async () => {
  const dialogue = await begun({ apiKey: "k" });
  await dialogue.world.request(0).open({ "x-ezai-stream-id": "s/1" });
  dialogue.stream.stop();
  dialogue.stream.stop();
  await settled();
  const stopping = dialogue.world.request(1);
  expect([stopping.method, stopping.url]).toEqual(["DELETE", "http://gateway/v1/streams/s%2F1"]);
  expect(stopping.header("x-api-key")).toBe("k");
  expect(dialogue.world.asked).toHaveLength(2);
  await stopping.fail();
  expect(dialogue.ending?.kind).toBe("stopped");
});

test("the counters stand still at the end", async () => {
  const dialogue = await begun();
  await dialogue.world.pass(1_000);
  dialogue.stream.stop();
  await settled();
  await dialogue.world.pass(5_000);
  expect(dialogue.stream.progress().elapsedMs).toBe(1_000);
});
