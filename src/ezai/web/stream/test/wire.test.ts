import { expect, test } from "vitest";
import { eventParser } from "../wire.ts";
import { event, PING, start, text } from "./events.ts";

function read(stream: string) {
  return eventParser()(stream).map(({ event }) => event);
}

test("what later versions may send passes silently", () => {
  const unknown = event("thought_summary", { text: "?" });
  const unnamed = 'data: {"type":"message_stop"}\n\n';
  expect(read(`: comment\n\n${PING}${unknown}event: done\ndata: [DONE]\n\n${unnamed}data: [DONE]\n\n`)).toEqual([]);
});

test("an event says what its name says", () => {
  expect(read('event: message_stop\ndata: {"type":"other"}\n\n')).toEqual([{ type: "message_stop" }]);
});

test("a known event that is no JSON object is illegal, and those before it are kept", () => {
  const [first, second] = read(`${text("a")}event: content_block_delta\ndata: {"type":\n\n`);
  expect(first?.type).toBe("content_block_delta");
  expect(second).toEqual({
    type: "illegal",
    reason: "The data of an event content_block_delta was no JSON object.",
  });
  expect(read("event: message_stop\ndata: []\n\n")[0]?.type).toBe("illegal");
});

test("ids come with their events", () => {
  const ids = eventParser()(start(1) + PING + text("a", 0, 2)).map(({ id }) => id);
  expect(ids).toEqual(["1", "2"]);
});

test("an event that is cut in two is none", () => {
  expect(read(text("a").slice(0, -1))).toEqual([]);
});

test.each([
  [
    '{"type":"error","error":{"type":"overloaded_error","message":"Busy","details":{"error_code":"c"}},"request_id":"r"}',
    { type: "overloaded_error", message: "Busy", code: "c", requestId: "r" },
  ],
  ['{"error":{"type":"api_error","message":"No"}}', { type: "api_error", message: "No", code: null, requestId: null }],
  ["gone wrong", { type: null, message: "gone wrong", code: null, requestId: null }],
])("an error event tells what it can: %s", (data, error) => {
  expect(read(`event: error\ndata: ${data}\n\n`)).toEqual([{ type: "error", error }]);
});
