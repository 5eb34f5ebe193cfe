/** Picking a stream up where it was left, as the gateway's interface has it. Chance is 0.5 in these tests. */

import { expect, test } from "vitest";
import { begun, phaseNames, shownText } from "./dialogue.ts";
import { event, failure, last, openText, PING, shut, start, text } from "./events.ts";

const STREAM = { "x-ezai-stream-id": "s1" };
const NOT_FOUND = { type: "error", error: { type: "not_found_error", message: "No such stream" } };

/** A resumable stream whose connection breaks after "Hel", its event 3, and keep-alives, which have no number. */
async function broken(how: "reset" | "close" = "reset") {
  const dialogue = await begun({ apiKey: "k" });
  const asked = dialogue.world.request(0);
  await asked.open(STREAM);
  await asked.send(start(1) + openText(0, 2) + text("Hel", 0, 3) + PING + text(""));
  await asked[how]();
  return dialogue;
}

function rest(): string {
  return text("lo", 0, 4) + shut(0, 5) + last("end_turn", 7, 6) + event("message_stop", {}, 7);
}

test.each(["reset", "close"] as const)("goes on after the last event (%s)", async (how) => {
  const dialogue = await broken(how);
  await dialogue.world.pass(375);
  const resumed = dialogue.world.request(1);
  expect([resumed.method, resumed.url]).toEqual(["GET", "http://gateway/v1/streams/s1"]);
  expect([resumed.header("last-event-id"), resumed.header("x-api-key")]).toEqual(["3", "k"]);
  await resumed.open(STREAM);
  await resumed.send(rest());
  expect(dialogue.ending).toMatchObject({ kind: "whole", message: { content: [{ text: "Hello" }] } });
  const seen = phaseNames(dialogue);
  expect(seen).toEqual(["connecting", "waiting", "streaming", "retrying", "resuming", "streaming", "ended"]);
});

test("a stall is resumed too", async () => {
  const dialogue = await begun({ stallTimeoutS: 20 });
  await dialogue.world.request(0).open(STREAM);
  await dialogue.world.request(0).send(start(1) + openText(0, 2) + text("Hel", 0, 3));
  await dialogue.world.pass(20_000);
  await dialogue.world.pass(375);
  expect(dialogue.world.request(1).method).toBe("GET");
});

test("what is said again is passed over", async () => {
  const dialogue = await broken();
  await dialogue.world.pass(375);
  await dialogue.world.request(1).open(STREAM);
  await dialogue.world.request(1).send(openText(0, 2) + text("Hel", 0, 3) + rest());
  expect(shownText(dialogue)).toBe("Hello");
});

test("a stream that is gone is continued instead", async () => {
  const dialogue = await broken();
  await dialogue.world.pass(375);
  await dialogue.world.request(1).refuse(404, NOT_FOUND);
  expect(dialogue.ending).toMatchObject({ kind: "partial", cause: "cut", canContinue: true });
  expect(dialogue.world.asked).toHaveLength(2);
});

test("a stream that is gone before it said anything is asked for anew", async () => {
  const dialogue = await begun();
  await dialogue.world.request(0).open(STREAM);
  await dialogue.world.request(0).send(start(1));
  await dialogue.world.request(0).reset();
  await dialogue.world.pass(375);
  await dialogue.world.request(1).refuse(404, NOT_FOUND);
  await dialogue.world.pass(750);
  expect(dialogue.world.asked.map(({ method }) => method)).toEqual(["POST", "GET", "POST"]);
  await dialogue.world.request(2).open({ "x-ezai-stream-id": "s2" });
  await dialogue.world.request(2).send(start(1) + openText(0, 2) + text("Hel", 0, 3) + rest());
  expect(dialogue.ending).toMatchObject({ kind: "whole", message: { content: [{ text: "Hello" }] } });
});

test("trouble on the way is tried again, then told as what broke the stream first", async () => {
  const dialogue = await broken();
  await dialogue.world.pass(375);
  await dialogue.world.request(1).refuse(529, NOT_FOUND, { "retry-after": "1" });
  await dialogue.world.pass(1_000);
  await dialogue.world.request(2).fail();
  await dialogue.world.pass(1_500);
  await dialogue.world.request(3).open(STREAM);
  await dialogue.world.request(3).close();
  expect(dialogue.ending).toMatchObject({ kind: "partial", cause: "cut", canContinue: true });
  expect(dialogue.ending).toHaveProperty("reason", "The connection failed: network error.");
  expect(dialogue.world.asked).toHaveLength(4);
});

test("a stream that broke twice is told as what broke it last", async () => {
  const dialogue = await broken();
  await dialogue.world.pass(375);
  await dialogue.world.request(1).open(STREAM);
  await dialogue.world.request(1).send(text("l", 0, 4));
  await dialogue.world.pass(45_000);
  await dialogue.world.pass(375);
  await dialogue.world.request(2).refuse(404, NOT_FOUND);
  expect(dialogue.ending).toMatchObject({
    kind: "partial",
    cause: "stalled",
    message: { content: [{ text: "Hell" }] },
  });
});

test("a resumed stream that grew has all its tries again", async () => {
  const dialogue = await broken();
  for (let number = 1; number <= 5; number += 1) {
    await dialogue.world.pass(375);
    await dialogue.world.request(number).open(STREAM);
    await dialogue.world.request(number).send(text("l", 0, 3 + number));
    await dialogue.world.request(number).reset();
  }
  expect(dialogue.ending).toBeNull();
  expect(dialogue.world.request(5).header("last-event-id")).toBe("7");
});

test("an error event is an end: it is not resumed", async () => {
  const dialogue = await begun();
  await dialogue.world.request(0).open(STREAM);
  await dialogue.world.request(0).send(start(1) + openText(0, 2) + failure("api_error", "upstream_stalled"));
  expect(dialogue.ending).toMatchObject({ kind: "partial", cause: "error", error: { code: "upstream_stalled" } });
});

test.each<[string, Record<string, string>, number | undefined]>([
  ["no stream id", {}, 3],
  ["events without ids", STREAM, undefined],
])("with %s nothing is resumed", async (_, headers, id) => {
  const dialogue = await begun();
  await dialogue.world.request(0).open(headers);
  await dialogue.world.request(0).send(start() + openText() + text("Hel", 0, id));
  await dialogue.world.request(0).reset();
  expect(dialogue.ending).toMatchObject({ kind: "partial", cause: "cut" });
  expect(dialogue.world.asked).toHaveLength(1);
});
