/** PURE: what is sent. */

import type { MessagesRequest } from "./messages.ts";

/** Where and as whom to ask. */
export interface Access {
  readonly baseUrl: string;
  readonly apiKey: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

/** A request, ready for fetch. */
export interface Sent {
  readonly url: string;
  readonly method: "POST" | "GET" | "DELETE";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const VERSION = "2023-06-01";

/** Asks for an answer as a stream. */
export function messagesRequest(access: Access, request: MessagesRequest, resumable: boolean): Sent {
  return {
    url: url(access, "/v1/messages"),
    method: "POST",
    headers: headers(access, {
      "content-type": "application/json",
      ...(resumable ? { "x-ezai-resumable": "true" } : {}),
    }),
    body: JSON.stringify({ ...request, stream: true }),
  };
}

/** Asks for what comes after the event of that id. */
export function resumeRequest(access: Access, streamId: string, lastEventId: string): Sent {
  return {
    url: streamUrl(access, streamId),
    method: "GET",
    headers: headers(access, { "last-event-id": lastEventId }),
  };
}

/** Stops a resumable stream, which would run on for a while after its reader has gone. */
export function stopRequest(access: Access, streamId: string): Sent {
  return { url: streamUrl(access, streamId), method: "DELETE", headers: headers(access, {}) };
}

function streamUrl(access: Access, streamId: string): string {
  return url(access, `/v1/streams/${encodeURIComponent(streamId)}`);
}

function url(access: Access, path: string): string {
  return access.baseUrl.replace(/\/+$/, "") + path;
}

/** The client's own headers, under those of the access; names are compared without regard to case. */
function headers(access: Access, own: Readonly<Record<string, string>>): Record<string, string> {
  const key = access.apiKey === null ? {} : { "x-api-key": access.apiKey };
  const given = Object.entries(access.headers).map(([name, value]) => [name.toLowerCase(), value]);
  return { "anthropic-version": VERSION, ...own, ...key, ...Object.fromEntries(given) };
}
