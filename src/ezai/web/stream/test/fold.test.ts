import { expect, test } from "vitest";
import { type Answer, fold, IllegalOrder, NOTHING, unfinished } from "../fold.ts";
import { eventParser, type GrowthEvent } from "../wire.ts";
import { delta, event, input, last, open, openText, openTool, STOP, shut, start, text } from "./events.ts";

function answerOf(...stream: string[]): Answer {
  const events = eventParser()(stream.join("")).map(({ event }) => event as GrowthEvent);
  return events.reduce(fold, NOTHING);
}

function contentOf(...stream: string[]) {
  return answerOf(start(), ...stream).message?.content;
}

test("text, thinking and its signature are put together", () => {
  const content = contentOf(
    open(0, { type: "thinking", thinking: "", signature: "" }),
    delta(0, { type: "thinking_delta", thinking: "Let " }),
    delta(0, { type: "thinking_delta", thinking: "me see." }),
    delta(0, { type: "signature_delta", signature: "sig" }),
    shut(0),
    openText(1),
    text("Hel", 1),
    text("lo", 1),
    shut(1),
  );
  expect(content).toEqual([
    { type: "thinking", thinking: "Let me see.", signature: "sig" },
    { type: "text", text: "Hello" },
  ]);
});

test("what is not read is kept as it came, so that the message can be sent back", () => {
  const redacted = { type: "redacted_thinking", data: "abc" };
  const result = { type: "web_search_tool_result", tool_use_id: "srv", content: [{ url: "u" }] };
  const citation = { type: "char_location", cited_text: "x" };
  const content = contentOf(
    open(0, redacted),
    shut(0),
    open(1, result),
    shut(1),
    open(2, { type: "text", text: "", citations: null }),
    delta(2, { type: "citations_delta", citation }),
    delta(2, { type: "citations_delta", citation }),
    shut(2),
  );
  expect(content).toEqual([redacted, result, { type: "text", text: "", citations: [citation, citation] }]);
});

test("a tool's input is {} until it is closed; its JSON is there as it comes", () => {
  const before = answerOf(start(), openTool(), input(""), input('{"city":'), input('"Rom"'));
  expect(before.message?.content[0]?.["input"]).toEqual({});
  expect(before.parts[0]).toEqual({ state: "open", inputJson: '{"city":"Rom"' });
  expect(contentOf(openTool(), input('{"city":"Rom"'), input("}"), shut())?.[0]?.["input"]).toEqual({ city: "Rom" });
  expect(contentOf(openTool(), shut())?.[0]?.["input"]).toEqual({});
});

test("a tool's input that was cut leaves its block unfinished", () => {
  const cut = answerOf(start(), openText(), shut(), openTool(1), input('{"city":"R', 1), shut(1), last("max_tokens"));
  expect(cut.message?.content[1]?.["input"]).toEqual({});
  expect(unfinished(cut)).toEqual([1]);
  expect(unfinished(answerOf(start(), openText(), text("a")))).toEqual([0]);
});

test("usage holds totals; null and absent keep what was told", () => {
  const end = { delta: { stop_reason: "end_turn", container: { id: "c" } }, context_management: { applied_edits: [] } };
  const usage = { input_tokens: null, output_tokens: 9, output_tokens_details: { thinking_tokens: 2 } };
  const { message, isWhole } = answerOf(start(), event("message_delta", { ...end, usage }), STOP);
  expect(isWhole).toBe(true);
  expect(message).toMatchObject({ stop_reason: "end_turn", container: { id: "c" }, context_management: {} });
  expect(message?.usage).toEqual({
    input_tokens: 12,
    cache_read_input_tokens: 4,
    output_tokens: 9,
    output_tokens_details: { thinking_tokens: 2 },
  });
});

test("what is told of the message leaves its content alone", () => {
  const { message } = answerOf(start(), openText(), text("a"), event("message_delta", { delta: { content: [] } }));
  expect(message?.content).toEqual([{ type: "text", text: "a" }]);
});

test("what brings nothing is the same object", () => {
  const before = answerOf(start(), openText(), text("a"));
  for (const nothing of [
    text(""),
    delta(0, { type: "later_delta", x: 1 }),
    delta(0, { type: "text_delta", text: null }),
  ])
    expect(eventParser()(nothing).reduce((answer, { event }) => fold(answer, event as GrowthEvent), before)).toBe(
      before,
    );
});

test("an event changes no state that was handed out, and no block but its own", () => {
  const before = answerOf(start(), openText(), text("a"), shut(), openText(1));
  const frozen = structuredClone(before);
  const after = fold(before, { type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "b" } });
  expect(before).toEqual(frozen);
  expect(after.message?.content[0]).toBe(before.message?.content[0]);
  expect(after.message?.content[1]).not.toBe(before.message?.content[1]);
});

test.each([
  ["a delta before the message", text("a")],
  ["a second message", start() + start()],
  ["a message that is none", event("message_start", { message: 5 })],
  ["a block out of turn", start() + openText(1)],
  ["a block that is none", start() + event("content_block_start", { index: 0 })],
  ["a delta of no block", start() + text("a")],
  ["a delta of a closed block", start() + openText() + shut() + text("a")],
  ["an end before the message", STOP],
])("%s is out of order", (_, stream) => {
  expect(() => answerOf(stream)).toThrow(IllegalOrder);
});
