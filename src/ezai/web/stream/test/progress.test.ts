import { expect, test } from "vitest";
import { counted, countFrom, progressOf } from "../progress.ts";
import type { GrowthEvent } from "../wire.ts";

function piece(text: string): GrowthEvent {
  return { type: "content_block_delta", index: 0, delta: { type: "text_delta", text } };
}

const USAGE: GrowthEvent = { type: "message_delta", delta: {}, usage: { output_tokens: 41 } };

test("nothing is known before the first content", () => {
  expect(progressOf(countFrom(1000), 1500)).toEqual({
    outputTokens: 0,
    estimated: true,
    timeToFirstTokenMs: null,
    tokensPerSecond: null,
    elapsedMs: 500,
  });
});

test("tokens are estimated, by pieces or by letters, until usage tells them", () => {
  let count = countFrom(0);
  for (const letter of "abc") count = counted(count, piece(letter), 10);
  expect(progressOf(count, 10)).toMatchObject({ outputTokens: 3, estimated: true });
  count = counted(count, piece("x".repeat(40)), 10);
  expect(progressOf(count, 10)).toMatchObject({ outputTokens: 11, estimated: true });
  count = counted(count, USAGE, 20);
  expect(progressOf(count, 20)).toMatchObject({ outputTokens: 41, estimated: false });
});

test("letters of scripts without spaces count by themselves", () => {
  expect(progressOf(counted(countFrom(0), piece("流式传输"), 1), 1).outputTokens).toBe(4);
});

test("the rate is of what came after the first piece, and is told once there is time to divide by", () => {
  let count = counted(countFrom(0), piece("a"), 200);
  expect(progressOf(count, 250)).toMatchObject({ timeToFirstTokenMs: 200, tokensPerSecond: null });
  count = counted(count, piece("b"), 250);
  expect(progressOf(count, 250).tokensPerSecond).toBeNull();
  count = counted(count, USAGE, 260);
  count = counted(count, piece("c"), 1200);
  expect(progressOf(count, 9000)).toMatchObject({ timeToFirstTokenMs: 200, tokensPerSecond: 40 });
});

test("thinking and tool input count; empty pieces, signatures and unknown kinds do not", () => {
  let count = countFrom(0);
  for (const delta of [{ thinking: "a" }, { partial_json: "{" }, { text: "" }, { signature: "s" }, { other: "x" }])
    count = counted(count, { type: "content_block_delta", index: 0, delta }, 5);
  expect(progressOf(count, 5).outputTokens).toBe(2);
});
