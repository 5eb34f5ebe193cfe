/** Recorded streams: any chunking is the same message, and it is the one that the official SDK makes of them. */

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import Anthropic from "../../../../../tests/sdk/typescript/new/node_modules/@anthropic-ai/sdk/index.mjs";
import { fold, NOTHING } from "../fold.ts";
import type { Message } from "../messages.ts";
import { eventParser, type WireEvent } from "../wire.ts";
import { begun } from "./dialogue.ts";

const FOLDER = new URL("../../../../../recordings/", import.meta.url);

const RECORDINGS = readdirSync(FOLDER, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".told.sse") || (name.startsWith("anthropic/") && name.endsWith(".sse")))
  .map((name) => ({ name, bytes: new Uint8Array(readFileSync(new URL(name, FOLDER))) }));
const WHOLE = RECORDINGS.filter(({ bytes }) => decode(bytes).includes("event: message_stop\n"));

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function eventsOf(pieces: readonly string[]): WireEvent["event"][] {
  const parse = eventParser();
  return pieces.flatMap((piece) => parse(piece)).map(({ event }) => event);
}

function messageOf(events: readonly WireEvent["event"][]): Message | null {
  const grown = events.filter((event) => event.type !== "error" && event.type !== "illegal");
  return grown.reduce(fold, NOTHING).message;
}

/** What the official SDK makes of a stream. */
async function official(bytes: Uint8Array<ArrayBuffer>): Promise<unknown> {
  const fetch = async () => new Response(bytes, { headers: { "content-type": "text/event-stream" } });
  const client = new Anthropic({ apiKey: "none", baseURL: "http://gateway", fetch, maxRetries: 0 });
  const stream = client.messages.stream({ model: "m", max_tokens: 1, messages: [{ role: "user", content: "Hi" }] });
  return JSON.parse(JSON.stringify(await stream.finalMessage()));
}

test("there are recordings, whole ones and broken ones", () => {
  expect(WHOLE.length).toBeGreaterThan(20);
  expect(RECORDINGS.length).toBeGreaterThan(WHOLE.length);
});

describe.each(RECORDINGS)("$name", ({ bytes }) => {
  const text = decode(bytes);
  const events = eventsOf([text]);

  test("is read without a fault", () => {
    expect(events.length).toBeGreaterThan(0);
    expect(events.filter((event) => event.type === "illegal")).toEqual([]);
  });

  test.each([1, 2, 7, 64])("is the same events in pieces of %i characters", (length) => {
    const pieces = Array.from({ length: Math.ceil(text.length / length) }, (_, at) =>
      text.slice(at * length, (at + 1) * length),
    );
    expect(eventsOf(pieces)).toEqual(events);
  });

  test.each(["\r\n", "\r"])("is the same events with other ends of lines", (end) => {
    expect(eventsOf([...text.replaceAll("\n", end)])).toEqual(events);
  });

  test.each([1, 5, 1000])("is the same message in chunks of %i bytes, which cut characters in two", async (length) => {
    const dialogue = await begun();
    const asked = dialogue.world.request(0);
    await asked.open();
    asked.sendAtOnce(bytes, length);
    await asked.close();
    expect(dialogue.ending?.message).toEqual(messageOf(events));
    expect(dialogue.batches.at(-1)?.message ?? null).toEqual(messageOf(events));
  });
});

test.each(WHOLE)("$name is the message that the official SDK makes of it", async ({ bytes }) => {
  const { parsed_output: _, ...expected } = (await official(bytes)) as Record<string, unknown>;
  expect(messageOf(eventsOf([decode(bytes)]))).toEqual(expected);
});
