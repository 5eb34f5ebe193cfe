import { expect, test } from "vitest";
import { continued, joined, kept } from "../continuation.ts";
import type { Block, Message } from "../messages.ts";
import { REQUEST } from "./dialogue.ts";

function partial(content: readonly Block[], unfinished: readonly number[] = []) {
  return { message: { content } as unknown as Message, unfinished };
}

function textBlock(text: string): Block {
  return { type: "text", text };
}

test("the answer so far becomes the last turn, without the white space at its end", () => {
  const request = { ...REQUEST, thinking: { type: "adaptive" }, temperature: 0.5 };
  expect(continued(request, partial([textBlock("Hello, \n")], [0]))).toEqual({
    ...REQUEST,
    temperature: 0.5,
    messages: [...REQUEST.messages, { role: "assistant", content: [textBlock("Hello,")] }],
  });
  expect(request.messages).toHaveLength(1);
});

test("what may not stand there is left out", () => {
  const search = { type: "server_tool_use", id: "srv_1", name: "web_search", input: {} };
  const found = { type: "web_search_tool_result", tool_use_id: "srv_1", content: [] };
  const content = [
    { type: "thinking", thinking: "Hm", signature: "s" },
    { type: "redacted_thinking", data: "x" },
    textBlock(""),
    search,
    found,
    textBlock("Well"),
    { ...search, id: "srv_2" },
    { type: "tool_use", id: "t", name: "f", input: {} },
  ];
  expect(kept(partial(content, [7]))).toEqual([search, found, textBlock("Well")]);
  const compaction = { type: "compaction", content: null };
  expect(kept(partial([textBlock("a"), compaction]))).toEqual([textBlock("a"), compaction]);
  expect(kept(partial([textBlock("a"), compaction], [1]))).toEqual([textBlock("a")]);
});

test("where nothing is kept it is the same request again", () => {
  expect(continued(REQUEST, { message: null, unfinished: [] })).toBe(REQUEST);
  expect(continued(REQUEST, partial([textBlock(" \n")], [0]))).toBe(REQUEST);
});

test("a continuation is continued in the same turn", () => {
  const once = continued(REQUEST, partial([textBlock("One, ")], [0]));
  const twice = continued(once, partial([textBlock(" two,")], [0]));
  expect(twice.messages).toEqual([...REQUEST.messages, { role: "assistant", content: [textBlock("One, two,")] }]);
  const prefilled = { ...REQUEST, messages: [...REQUEST.messages, { role: "assistant" as const, content: "{" }] };
  expect(continued(prefilled, partial([textBlock('"a')])).messages.at(-1)?.content).toEqual([textBlock('{"a')]);
});

test("text that was cut in two is one block again; cited text stays by itself", () => {
  expect(joined([textBlock("a")], [textBlock("b"), textBlock("c")])).toEqual([textBlock("ab"), textBlock("c")]);
  const cited = { type: "text", text: "b", citations: [{}] };
  expect(joined([textBlock("a")], [cited])).toEqual([textBlock("a"), cited]);
  expect(joined([], [cited])).toEqual([cited]);
});
