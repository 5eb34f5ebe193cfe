/** PURE: the text of a stream → its events. */

import { createParser } from "eventsource-parser";
import { type ApiError, apiError } from "./errors.ts";
import { isRecord, parsedJson } from "./json.ts";
import type { Usage } from "./messages.ts";

/** One event, and the number under which a resumable stream can be picked up after it. */
export interface WireEvent {
  readonly id: string | null;
  readonly event: GrowthEvent | ErrorEvent | IllegalEvent;
}

/** An event that grows the message. What it brings is looked at by `fold`. */
export type GrowthEvent =
  | { readonly type: "message_start"; readonly message?: unknown }
  | { readonly type: "content_block_start"; readonly index?: unknown; readonly content_block?: unknown }
  | { readonly type: "content_block_delta"; readonly index?: unknown; readonly delta?: unknown }
  | { readonly type: "content_block_stop"; readonly index?: unknown }
  | MessageDelta
  | { readonly type: "message_stop" };

/** What is told of the message as a whole, at its end; `usage` holds totals. */
export interface MessageDelta {
  readonly type: "message_delta";
  readonly delta?: unknown;
  readonly usage?: Usage;
  readonly [key: string]: unknown;
}

/** The event that ends a broken stream. */
export interface ErrorEvent {
  readonly type: "error";
  readonly error: ApiError;
}

/** What stands where a known event should, and is none; nothing after it can be relied on. */
export interface IllegalEvent {
  readonly type: "illegal";
  /** One sentence for a person. */
  readonly reason: string;
}

const GROWTH: ReadonlySet<string> = new Set<GrowthEvent["type"]>([
  "message_start",
  "content_block_start",
  "content_block_delta",
  "content_block_stop",
  "message_delta",
  "message_stop",
]);

/** A function that takes a stream's text in any pieces, and returns the events that each piece completes.
 *
 * Pings, comments, events of unknown names and events without a name bring nothing: the API may send more of them in
 * time. An event that the end of the stream cuts in two is none.
 */
export function eventParser(): (text: string) => readonly WireEvent[] {
  let completed: WireEvent[] = [];
  const parser = createParser({
    onEvent: ({ event: name = "", id, data }) => {
      const event = decoded(name, data);
      if (event !== null) completed.push({ id: id || null, event });
    },
  });
  return (text) => {
    completed = [];
    parser.feed(text);
    return completed;
  };
}

function decoded(name: string, data: string): WireEvent["event"] | null {
  if (name === "error") return { type: "error", error: apiError(data) };
  if (!GROWTH.has(name)) return null;
  const value = parsedJson(data);
  if (!isRecord(value)) return { type: "illegal", reason: `The data of an event ${name} was no JSON object.` };
  return { ...value, type: name } as GrowthEvent;
}
