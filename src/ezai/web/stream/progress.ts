/** PURE: what is counted while an answer comes. */

import { isRecord } from "./json.ts";
import type { GrowthEvent } from "./wire.ts";

/** The counters of a stream at one moment. Times are in milliseconds of the injected clock. */
export interface Progress {
  /** Tokens of the answer so far: estimated from what came, until usage tells them. */
  readonly outputTokens: number;
  /** Whether `outputTokens` is an estimate. */
  readonly estimated: boolean;
  /** From the first request to the first content, or null before it. */
  readonly timeToFirstTokenMs: number | null;
  /** From the first content to the last one so far; null until they are far enough apart to say. */
  readonly tokensPerSecond: number | null;
  /** From the first request until now, or to the end. */
  readonly elapsedMs: number;
}

/** What the counters are made of. */
export interface Count {
  readonly startedMs: number;
  readonly firstContentMs: number | null;
  readonly lastContentMs: number | null;
  /** Deltas that brought something. */
  readonly pieces: number;
  /** Tokens by what letters usually weigh. */
  readonly weight: number;
  /** What usage told; null before it did. */
  readonly toldTokens: number | null;
}

const RATE_AFTER_MS = 100;
const LETTERS_PER_TOKEN = 4;
const FIRST_WIDE_LETTER = 0x2e80; // from here on: Chinese, Japanese, Korean, pictures; about a token each

/** The count before the first event of an answer. */
export function countFrom(startedMs: number): Count {
  return { startedMs, firstContentMs: null, lastContentMs: null, pieces: 0, weight: 0, toldTokens: null };
}

/** The count with an event in it that came at `nowMs`. */
export function counted(count: Count, event: GrowthEvent, nowMs: number): Count {
  if (event.type === "message_delta") {
    const total = event.usage?.output_tokens;
    return typeof total === "number" ? { ...count, toldTokens: total } : count;
  }
  const text = event.type === "content_block_delta" ? addition(event.delta) : "";
  if (text === "") return count;
  return {
    ...count,
    firstContentMs: count.firstContentMs ?? nowMs,
    lastContentMs: nowMs,
    pieces: count.pieces + 1,
    weight: count.weight + weightOf(text),
  };
}

/** What the counters show at `nowMs`. */
export function progressOf(count: Count, nowMs: number): Progress {
  const { startedMs, firstContentMs, lastContentMs, toldTokens } = count;
  // Upstreams send one token in a delta, or several: the larger of the two estimates is the nearer one.
  const outputTokens = toldTokens ?? Math.max(count.pieces, Math.ceil(count.weight));
  const spanMs = firstContentMs === null || lastContentMs === null ? 0 : lastContentMs - firstContentMs;
  return {
    outputTokens,
    estimated: toldTokens === null,
    timeToFirstTokenMs: firstContentMs === null ? null : firstContentMs - startedMs,
    tokensPerSecond: spanMs < RATE_AFTER_MS ? null : (Math.max(0, outputTokens - 1) * 1000) / spanMs,
    elapsedMs: nowMs - startedMs,
  };
}

function addition(delta: unknown): string {
  if (!isRecord(delta)) return "";
  const text = delta["text"] ?? delta["thinking"] ?? delta["partial_json"];
  return typeof text === "string" ? text : "";
}

function weightOf(text: string): number {
  let weight = 0;
  for (const letter of text) weight += (letter.codePointAt(0) ?? 0) < FIRST_WIDE_LETTER ? 1 / LETTERS_PER_TOKEN : 1;
  return weight;
}
