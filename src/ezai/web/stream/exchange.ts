/** EDGE: one HTTP exchange, from the request to its last byte. */

import type { Sent } from "./requests.ts";
import { type RetryAdvice, retryAdvice } from "./retry.ts";
import { eventParser, type WireEvent } from "./wire.ts";
import type { World } from "./world.ts";

/** How an exchange ended.
 *
 * - `over`: the listener took an event for the last one.
 * - `refused`: an answer that is no stream; `text` is its body.
 * - `unreachable`: the request failed before an answer began.
 * - `cut`: the answer's connection ended, in peace or not.
 * - `stalled`: no byte came for so long, before the answer or in it.
 * - `aborted`: the signal did it.
 */
export type ExchangeEnd =
  | { readonly kind: "over" | "aborted" }
  | { readonly kind: "unreachable" | "cut" | "stalled"; readonly reason: string }
  | { readonly kind: "refused"; readonly advice: RetryAdvice; readonly text: string; readonly headers: Headers };

/** Who is told what comes. */
export interface Listener {
  /** The answer is a stream, with these headers. */
  onOpen(headers: Headers): void;
  /** One event; returns whether it is the last that matters. */
  onEvent(event: WireEvent): boolean;
}

const CLOSING_MS = 5_000;

/** Sends a request and tells the listener what comes, until the exchange ends. Never rejects.
 *
 * After the last event the rest is read in the background, so that the gateway sees a reader who stayed to the end.
 */
export async function exchange(
  world: World,
  sent: Sent,
  listener: Listener,
  signal: AbortSignal,
  stallTimeoutMs: number,
): Promise<ExchangeEnd> {
  const watch = new Watch(world, stallTimeoutMs, signal);
  let isOpen = false;
  try {
    const { url, ...init } = sent;
    const response = await world.fetch(url, { ...init, signal: watch.signal, cache: "no-store" });
    watch.touch();
    if (!isStream(response)) return await refusal(response);
    isOpen = true;
    listener.onOpen(response.headers);
    return await read(world, response, listener, watch);
  } catch (failure) {
    return (
      watch.verdict() ?? { kind: isOpen ? "cut" : "unreachable", reason: `The connection failed: ${said(failure)}.` }
    );
  } finally {
    watch.end();
  }
}

async function read(world: World, response: Response, listener: Listener, watch: Watch): Promise<ExchangeEnd> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  watch.signal.addEventListener("abort", () => void reader.cancel().catch(() => undefined));
  const decoder = new TextDecoder();
  const parse = eventParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return watch.verdict() ?? { kind: "cut", reason: "The connection ended before the answer did." };
    watch.touch();
    for (const event of parse(decoder.decode(value, { stream: true }))) {
      if (watch.signal.aborted) break; // a callback may have stopped it
      if (!listener.onEvent(event)) continue;
      void readToEnd(world, reader);
      return { kind: "over" };
    }
  }
}

async function readToEnd(world: World, reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const cancel = () => void reader.cancel().catch(() => undefined);
  const forget = world.clock.after(CLOSING_MS, cancel);
  try {
    while (!(await reader.read()).done);
  } catch {
    // The answer has ended before: how its connection goes is nobody's concern.
  } finally {
    forget();
  }
}

function isStream(response: Response): boolean {
  const type = response.headers.get("content-type") ?? "";
  return response.ok && response.body !== null && type.toLowerCase().startsWith("text/event-stream");
}

async function refusal(response: Response): Promise<ExchangeEnd> {
  const { status, headers } = response;
  return { kind: "refused", advice: retryAdvice(status, headers, Date.now()), text: await response.text(), headers };
}

function said(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  return failure.cause instanceof Error ? `${failure.message}: ${failure.cause.message}` : failure.message;
}

/** Aborts a request when its user does, or when nothing has come for too long. */
class Watch {
  readonly #world: World;
  readonly #timeoutMs: number;
  readonly #user: AbortSignal;
  readonly #controller = new AbortController();
  readonly #abort = () => this.#controller.abort();
  #lastMs: number;
  #isStalled = false;
  #forget = () => {};

  constructor(world: World, timeoutMs: number, user: AbortSignal) {
    this.#world = world;
    this.#timeoutMs = timeoutMs;
    this.#user = user;
    this.#lastMs = world.clock.now();
    if (user.aborted) this.#abort();
    else user.addEventListener("abort", this.#abort);
    this.#arm(timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something came. */
  touch(): void {
    this.#lastMs = this.#world.clock.now();
  }

  /** Why it was aborted; null where it was not. */
  verdict(): ExchangeEnd | null {
    if (this.#user.aborted) return { kind: "aborted" };
    if (!this.#isStalled) return null;
    return { kind: "stalled", reason: `Nothing came for ${this.#timeoutMs / 1000} s.` };
  }

  end(): void {
    this.#forget();
    this.#user.removeEventListener("abort", this.#abort);
  }

  /** One timer at a time, and none per event: when it rings it looks how long the silence was. */
  #arm(delayMs: number): void {
    this.#forget = this.#world.clock.after(delayMs, () => {
      const leftMs = this.#lastMs + this.#timeoutMs - this.#world.clock.now();
      if (leftMs > 0) return this.#arm(leftMs);
      this.#isStalled = true;
      this.#abort();
    });
  }
}
