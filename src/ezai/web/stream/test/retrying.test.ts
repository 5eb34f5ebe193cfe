/** Asking again: only before content, only where it may help, and not for ever. Chance is 0.5 in these tests. */

import { expect, test } from "vitest";
import { begun, phaseNames } from "./dialogue.ts";
import { answer, failure, openText, start, text } from "./events.ts";

const BUSY = { type: "error", error: { type: "overloaded_error", message: "Busy" } };
const FIRST_DELAY_MS = 375;

test("a network failure is tried again, with more patience each time, then told", async () => {
  const { world, stream, phases } = await begun();
  for (let number = 0; number < 4; number += 1) {
    await world.request(number).fail();
    await world.pass(FIRST_DELAY_MS * 2 ** number);
  }
  expect(await stream.ended).toMatchObject({ kind: "unreachable", message: null, canContinue: false });
  expect(world.asked).toHaveLength(4);
  const delays = phases.flatMap((phase) => (phase.name === "retrying" ? [phase.delayMs] : []));
  expect(delays).toEqual([375, 750, 1500]);
});

test("no request is made before its time", async () => {
  const { world } = await begun();
  await world.request(0).fail();
  await world.pass(FIRST_DELAY_MS - 1);
  expect(world.asked).toHaveLength(1);
  await world.pass(1);
  expect(world.asked).toHaveLength(2);
});

test.each([429, 500, 503, 529])("a refusal with %i passes", async (status) => {
  const dialogue = await begun();
  await dialogue.world.request(0).refuse(status, BUSY, { "retry-after": "2" });
  expect(dialogue.phases.at(-1)).toEqual({ name: "retrying", delayMs: 2000, reason: "Busy" });
  await dialogue.world.pass(2000);
  await dialogue.world.request(1).open();
  await dialogue.world.request(1).send(answer("Hello"));
  expect(dialogue.ending).toMatchObject({ kind: "whole", message: { content: [{ text: "Hello" }] } });
  expect(phaseNames(dialogue)).toEqual(["connecting", "retrying", "connecting", "waiting", "streaming", "ended"]);
});

test.each<[number, Record<string, string>]>([
  [400, {}],
  [401, {}],
  [404, {}],
  [413, {}],
  [529, { "x-should-retry": "false" }],
  [429, { "retry-after": "3600" }],
])("a refusal with %i and %o is told at once", async (status, headers) => {
  const { world, stream } = await begun();
  await world.request(0).refuse(status, BUSY, headers);
  expect(await stream.ended).toMatchObject({ kind: "refused", status });
});

test("refusals are told in the end", async () => {
  const { world, stream } = await begun({ maxRetries: 1 });
  await world.request(0).refuse(529, BUSY);
  await world.pass(10_000);
  await world.request(1).refuse(503, BUSY);
  expect(await stream.ended).toMatchObject({ kind: "refused", status: 503, type: "overloaded_error" });
});

test("a network that fails after a stream that said nothing was not reached", async () => {
  const { world, stream } = await begun({ maxRetries: 1 });
  await world.request(0).open();
  await world.request(0).close();
  await world.pass(FIRST_DELAY_MS);
  await world.request(1).fail();
  expect(await stream.ended).toMatchObject({ kind: "unreachable", reason: "The connection failed: Failed to fetch." });
});

test("nobody answering is silence, and tried again", async () => {
  const { world, stream } = await begun({ stallTimeoutS: 10, maxRetries: 1 });
  await world.pass(10_000);
  expect(world.request(0).wasLeft).toBe(true);
  await world.pass(FIRST_DELAY_MS);
  await world.pass(10_000);
  expect(await stream.ended).toMatchObject({ kind: "unreachable", reason: "Nothing came for 10 s." });
});

test.each([
  ["an error event", failure("overloaded_error", "draining")],
  ["the end of the connection", null],
])("%s before content is tried again, and the answer begins anew", async (_, event) => {
  const { world, stream, batches } = await begun();
  const first = world.request(0);
  await first.open();
  await first.send(start());
  world.frames.next();
  await (event === null ? first.close() : first.send(event));
  await world.pass(FIRST_DELAY_MS);
  await world.request(1).open();
  await world.request(1).send(answer("Hello"));
  expect(await stream.ended).toMatchObject({ kind: "whole", message: { content: [{ text: "Hello" }] } });
  expect(batches.at(-1)?.changes).toMatchObject([{ index: 0, isNew: true, added: "Hello" }]);
});

test("an error event that will not pass is told, also before content", async () => {
  const { world, stream } = await begun();
  await world.request(0).open();
  await world.request(0).send(start() + failure("api_error", "budget_exhausted", "The budget is spent."));
  expect(await stream.ended).toMatchObject({ kind: "partial", cause: "error", error: { code: "budget_exhausted" } });
});

test("nothing is asked again once a block has begun", async () => {
  for (const events of [start() + openText(), start() + openText() + text("a")]) {
    const { world, stream } = await begun();
    await world.request(0).open();
    await world.request(0).send(events);
    await world.request(0).reset();
    expect(await stream.ended).toMatchObject({ kind: "partial", cause: "cut" });
    await world.pass(60_000);
    expect(world.asked).toHaveLength(1);
  }
});
