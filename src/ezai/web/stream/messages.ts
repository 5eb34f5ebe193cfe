/** The Messages API as far as a reader of streams looks at it; every key beyond that is kept as it came. */

/** The body of `POST /v1/messages`. Keys that are not named here are sent as they are. */
export interface MessagesRequest {
  readonly model: string;
  readonly max_tokens: number;
  readonly messages: readonly Turn[];
  readonly [key: string]: unknown;
}

/** One turn of a conversation. */
export interface Turn {
  readonly role: "user" | "assistant" | "system";
  /** A string is the same as one text block. */
  readonly content: string | readonly Block[];
}

/** A content block. `type` tells which keys there are: `text`, `thinking`, `tool_use`, `redacted_thinking` ... */
export interface Block {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** A block of text; `citations` are kept as they came. */
export interface TextBlock extends Block {
  readonly type: "text";
  readonly text: string;
}

/** What the model thought; it can be sent back only unchanged, with its signature. */
export interface ThinkingBlock extends Block {
  readonly type: "thinking";
  readonly thinking: string;
  readonly signature: string;
}

/** A call of a tool. `input` is `{}` until the block is closed. */
export interface ToolUseBlock extends Block {
  readonly type: "tool_use";
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}

/** What a request used so far; totals, not additions. A key that was not told is absent or null. */
export interface Usage {
  readonly input_tokens?: number | null;
  readonly output_tokens?: number | null;
  readonly cache_creation_input_tokens?: number | null;
  readonly cache_read_input_tokens?: number | null;
  readonly [key: string]: unknown;
}

/** An answer. Its `content` can be sent back unchanged as the assistant's turn. */
export interface Message {
  readonly id: string;
  readonly type: "message";
  readonly role: "assistant";
  readonly model: string;
  readonly content: readonly Block[];
  /** Null until it is told: `end_turn`, `max_tokens`, `tool_use`, `refusal` ... */
  readonly stop_reason: string | null;
  readonly stop_sequence: string | null;
  readonly usage: Usage;
  readonly [key: string]: unknown;
}

/** Whether the block is text. */
export function isText(block: Block): block is TextBlock {
  return block.type === "text" && typeof block["text"] === "string";
}

/** Whether the block is thinking that can be read; redacted thinking is another type. */
export function isThinking(block: Block): block is ThinkingBlock {
  return block.type === "thinking" && typeof block["thinking"] === "string";
}

/** Whether the block is a call of one of the request's own tools. */
export function isToolUse(block: Block): block is ToolUseBlock {
  return block.type === "tool_use";
}
