/** PURE: asking for the rest of a partial answer. */

import { type Block, isText, type Message, type MessagesRequest, type TextBlock } from "./messages.ts";

/** The answer that is to be continued; each `Ending` is one. */
export interface AnswerSoFar {
  readonly message: Message | null;
  /** The places of blocks that are not complete. */
  readonly unfinished: readonly number[];
}

/** The blocks of a partial answer that a continuation starts from, legal as the last turn of a request.
 *
 * Thinking and calls of tools that nobody has answered are left out (the API takes neither there), and so are blocks
 * that were cut, other than text, and the white space at the end. Show these, then what `joined` makes of them and the
 * continuation.
 */
export function kept(partial: AnswerSoFar): readonly Block[] {
  const content = partial.message?.content ?? [];
  const blocks = content.filter((block, index) => stays(block, content, partial.unfinished.includes(index)));
  const last = blocks.at(-1);
  return last && isText(last) ? blocks.with(-1, { ...last, text: last.text.trimEnd() } as TextBlock) : blocks;
}

/** The request that asks for the rest: `request` with what is `kept` as a trailing turn of the assistant.
 *
 * `thinking` is left out of it, since it cannot begin in the middle of an answer. A request that already ends in an
 * assistant's turn, a continuation itself, gets one longer turn. Where nothing is kept it is the same request again.
 */
export function continued(request: MessagesRequest, partial: AnswerSoFar): MessagesRequest {
  const rest = kept(partial);
  if (rest.length === 0) return request;
  const { thinking: _thinking, ...asked } = request as MessagesRequest & { thinking?: unknown };
  const last = request.messages.at(-1);
  const isContinuation = last?.role === "assistant";
  const begun = isContinuation ? asBlocks(last.content) : [];
  const turn = { role: "assistant" as const, content: joined(begun, rest) };
  const earlier = isContinuation ? request.messages.slice(0, -1) : request.messages;
  return { ...asked, messages: [...earlier, turn] };
}

/** The content of both answers as one: text that was cut in two is one block again. */
export function joined(first: readonly Block[], second: readonly Block[]): readonly Block[] {
  const [before, after] = [first.at(-1), second[0]];
  if (!before || !after || !isPlainText(before) || !isPlainText(after)) return [...first, ...second];
  return [...first.slice(0, -1), { ...before, text: before.text + after.text } as TextBlock, ...second.slice(1)];
}

function stays(block: Block, content: readonly Block[], isUnfinished: boolean): boolean {
  switch (block.type) {
    case "text":
      return isText(block) && block.text.trim() !== "";
    case "thinking":
    case "redacted_thinking":
    case "tool_use":
      return false;
    default:
      return !isUnfinished && !isUnanswered(block, content);
  }
}

/** Whether the block is a call of a tool of the server's whose result did not come. */
function isUnanswered(block: Block, content: readonly Block[]): boolean {
  if (!block.type.endsWith("_tool_use")) return false;
  return !content.some((other) => other["tool_use_id"] === block["id"]);
}

function isPlainText(block: Block): block is TextBlock {
  return isText(block) && !(Array.isArray(block["citations"]) && block["citations"].length > 0);
}

function asBlocks(content: string | readonly Block[]): readonly Block[] {
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}
