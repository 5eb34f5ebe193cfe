/** Events of streams, as a gateway writes them. */

/** An event; with an id where the stream is resumable. */
export function event(type: string, fields: Record<string, unknown> = {}, id?: number): string {
  const line = id === undefined ? "" : `id: ${id}\n`;
  return `${line}event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

export const PING = event("ping");
export const STOP = event("message_stop");

export function start(id?: number): string {
  const message = {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "small",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 12, output_tokens: 1, cache_read_input_tokens: 4 },
  };
  return event("message_start", { message }, id);
}

export function open(index: number, block: Record<string, unknown>, id?: number): string {
  return event("content_block_start", { index, content_block: block }, id);
}

export function openText(index = 0, id?: number): string {
  return open(index, { type: "text", text: "" }, id);
}

export function openTool(index = 0): string {
  return open(index, { type: "tool_use", id: `toolu_${index}`, name: "weather", input: {} });
}

export function delta(index: number, fields: Record<string, unknown>, id?: number): string {
  return event("content_block_delta", { index, delta: fields }, id);
}

export function text(addition: string, index = 0, id?: number): string {
  return delta(index, { type: "text_delta", text: addition }, id);
}

export function input(partial: string, index = 0): string {
  return delta(index, { type: "input_json_delta", partial_json: partial });
}

export function shut(index = 0, id?: number): string {
  return event("content_block_stop", { index }, id);
}

export function last(stopReason = "end_turn", outputTokens = 7, id?: number): string {
  const fields = { delta: { stop_reason: stopReason, stop_sequence: null }, usage: { output_tokens: outputTokens } };
  return event("message_delta", fields, id);
}

/** A whole answer in one block of text. */
export function answer(...additions: string[]): string {
  return start() + openText() + additions.map((addition) => text(addition)).join("") + shut() + last() + STOP;
}

/** An error in the stream. */
export function failure(type: string, code: string, message = "It broke."): string {
  return event("error", { error: { type, message, details: { error_code: code } }, request_id: "req_event" });
}
