/** PURE: events → the growing message. Nothing is changed in place: what an event leaves alone stays the same object. */

import { isRecord, parsedJson } from "./json.ts";
import type { Block, Message, Usage } from "./messages.ts";
import type { GrowthEvent, MessageDelta } from "./wire.ts";

/** An answer as far as it came. */
export interface Answer {
  /** Null until the stream says that one begins. */
  readonly message: Message | null;
  /** One for each block of `message.content`. */
  readonly parts: readonly Part[];
  /** Whether the stream told its end. */
  readonly isWhole: boolean;
}

/** What is known of a block beside what is sent back of it. */
export interface Part {
  /** `broken`: closed, and the input of the tool is no JSON. */
  readonly state: "open" | "closed" | "broken";
  /** The JSON of a tool's input as far as it came; "" for other blocks. */
  readonly inputJson: string;
}

/** The answer before its first event. */
export const NOTHING: Answer = { message: null, parts: [], isWhole: false };

/** An event came in an order that no answer has. `message` is one sentence for a person. */
export class IllegalOrder extends Error {}

/** The answer with the event in it; the same object where the event brings nothing.
 *
 * Deltas of unknown kinds bring nothing. Raises `IllegalOrder` for a second start, a block out of turn, or a delta of
 * a block that is not open.
 */
export function fold(answer: Answer, event: GrowthEvent): Answer {
  if (event.type === "message_start") return started(answer, event.message);
  const { message } = answer;
  if (message === null) throw new IllegalOrder(`An event ${event.type} came before the message began.`);
  switch (event.type) {
    case "content_block_start":
      return opened(answer, message, event.index, event.content_block);
    case "content_block_delta":
      return grown(answer, message, openPlace(answer, event.index), event.delta);
    case "content_block_stop":
      return closed(answer, message, openPlace(answer, event.index));
    case "message_delta":
      return { ...answer, message: told(message, event) };
    case "message_stop":
      return { ...answer, isWhole: true };
  }
}

/** The places of blocks that are not complete: open, or with a tool input that is no JSON. */
export function unfinished(answer: Answer): readonly number[] {
  return answer.parts.flatMap((part, index) => (part.state === "closed" ? [] : [index]));
}

function started(answer: Answer, message: unknown): Answer {
  if (answer.message !== null) throw new IllegalOrder("A second message began.");
  if (!isRecord(message)) throw new IllegalOrder("A message began that is none.");
  const usage = isRecord(message["usage"]) ? message["usage"] : {};
  return { ...NOTHING, message: { ...message, content: [], usage } as unknown as Message };
}

function opened(answer: Answer, message: Message, index: unknown, block: unknown): Answer {
  if (index !== message.content.length) throw new IllegalOrder(`Block ${index} began out of turn.`);
  if (!isRecord(block) || typeof block["type"] !== "string") throw new IllegalOrder(`Block ${index} is none.`);
  return {
    ...answer,
    message: { ...message, content: [...message.content, block as Block] },
    parts: [...answer.parts, { state: "open", inputJson: "" }],
  };
}

function openPlace(answer: Answer, index: unknown): number {
  if (typeof index !== "number" || answer.parts[index]?.state !== "open")
    throw new IllegalOrder(`Block ${index} is not open.`);
  return index;
}

function grown(answer: Answer, message: Message, index: number, delta: unknown): Answer {
  const block = message.content[index] as Block;
  if (!isRecord(delta)) return answer;
  if (delta["type"] === "input_json_delta") return withInput(answer, index, delta["partial_json"]);
  const after = grownBlock(block, delta);
  return after === block ? answer : { ...answer, message: withBlock(message, index, after) };
}

/** The block with the delta in it; the same object where it brings nothing. */
function grownBlock(block: Block, delta: Readonly<Record<string, unknown>>): Block {
  switch (delta["type"]) {
    case "text_delta":
      return appended(block, "text", delta["text"]);
    case "thinking_delta":
      return appended(block, "thinking", delta["thinking"]);
    case "signature_delta":
      return { ...block, signature: delta["signature"] };
    case "citations_delta":
      return { ...block, citations: [...listed(block["citations"]), delta["citation"]] };
    case "compaction_delta":
      return { ...block, ...delta, type: block.type };
    default:
      return block;
  }
}

function appended(block: Block, key: "text" | "thinking", addition: unknown): Block {
  if (block.type !== key || typeof addition !== "string" || addition === "") return block;
  const before = block[key];
  return { ...block, [key]: (typeof before === "string" ? before : "") + addition };
}

function listed(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function withInput(answer: Answer, index: number, addition: unknown): Answer {
  if (typeof addition !== "string" || addition === "") return answer;
  const part = answer.parts[index] as Part;
  return { ...answer, parts: answer.parts.with(index, { ...part, inputJson: part.inputJson + addition }) };
}

function closed(answer: Answer, message: Message, index: number): Answer {
  const { inputJson } = answer.parts[index] as Part;
  const input = inputJson === "" ? undefined : parsedJson(inputJson);
  const state = inputJson !== "" && input === undefined ? "broken" : "closed";
  const block = message.content[index] as Block;
  return {
    ...answer,
    message: input === undefined ? message : withBlock(message, index, { ...block, input }),
    parts: answer.parts.with(index, { state, inputJson }),
  };
}

function withBlock(message: Message, index: number, block: Block): Message {
  return { ...message, content: message.content.with(index, block) };
}

/** The message with what is told of it as a whole; `usage` that is null keeps what was told before. */
function told(message: Message, event: MessageDelta): Message {
  const { type: _type, delta, usage, ...more } = event;
  return {
    ...message,
    ...more,
    ...(isRecord(delta) ? delta : {}),
    content: message.content,
    usage: { ...message.usage, ...toldUsage(usage) },
  };
}

function toldUsage(usage: unknown): Usage {
  if (!isRecord(usage)) return {};
  return Object.fromEntries(Object.entries(usage).filter(([, total]) => total !== null));
}
