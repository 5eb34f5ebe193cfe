/** A world in which nothing happens by itself: time, frames, chance and the network go by script. */

import type { Clock, World } from "../world.ts";

/** A clock that a test moves. */
export class ManualClock implements Clock {
  #nowMs = 1_000;
  #timers: { readonly dueMs: number; readonly callback: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass, and rings what is due, in order. */
  pass(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((other) => other !== due);
      this.#nowMs = due.dueMs;
      due.callback();
    }
    this.#nowMs = endMs;
  }

  get timerCount(): number {
    return this.#timers.length;
  }
}

/** Frames that come when a test says so. */
export class ManualFrames {
  #waiting: (() => void)[] = [];
  asked = 0;

  readonly schedule = (callback: () => void): void => {
    this.asked += 1;
    this.#waiting.push(callback);
  };

  next(): void {
    const due = this.#waiting;
    this.#waiting = [];
    for (const callback of due) callback();
  }
}

/** A request that the client made, and the means to answer it. */
export class Asked {
  readonly url: string;
  readonly init: RequestInit;
  readonly #answered: (response: Response) => void;
  readonly #failed: (failure: unknown) => void;
  #body: ReadableStreamDefaultController<Uint8Array> | null = null;
  wasLeft = false;

  constructor(url: string, init: RequestInit, answered: (response: Response) => void, failed: (f: unknown) => void) {
    this.url = url;
    this.init = init;
    this.#answered = answered;
    this.#failed = failed;
    const leave = () => {
      this.wasLeft = true;
      const aborted = new DOMException("This operation was aborted", "AbortError");
      failed(aborted);
      this.#end((body) => body.error(aborted));
    };
    if (init.signal?.aborted) leave();
    else init.signal?.addEventListener("abort", leave);
  }

  get method(): string {
    return this.init.method ?? "GET";
  }

  get json(): Record<string, unknown> {
    return JSON.parse(String(this.init.body));
  }

  header(name: string): string | null {
    return new Headers(this.init.headers).get(name);
  }

  /** Answers with a stream whose body comes by `send`. */
  async open(headers: Record<string, string> = {}): Promise<void> {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
      },
      cancel: () => {
        this.wasLeft = true;
        this.#body = null;
      },
    });
    this.#answered(new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8", ...headers } }));
    await settled();
  }

  async send(...pieces: (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      this.#body?.enqueue(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
      await settled();
    }
  }

  /** Sends the bytes in chunks of that length, without waiting for any to be read. */
  sendAtOnce(bytes: Uint8Array, length: number): void {
    for (let at = 0; at < bytes.length; at += length) this.#body?.enqueue(bytes.slice(at, at + length));
  }

  /** Ends the body in peace. */
  async close(): Promise<void> {
    this.#end((body) => body.close());
    await settled();
  }

  /** Breaks the connection. */
  async reset(): Promise<void> {
    this.#end((body) => body.error(new TypeError("network error")));
    await settled();
  }

  /** Answers with an error of the API, or with any other body. */
  async refuse(status: number, body: unknown, headers: Record<string, string> = {}): Promise<void> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    this.#answered(new Response(text, { status, headers }));
    await settled();
  }

  async fail(): Promise<void> {
    this.#failed(new TypeError("Failed to fetch"));
    await settled();
  }

  #end(how: (body: ReadableStreamDefaultController<Uint8Array>) => void): void {
    if (this.#body) how(this.#body);
    this.#body = null;
  }
}

/** The world of one test. */
export class ScriptedWorld implements World {
  readonly clock = new ManualClock();
  readonly frames = new ManualFrames();
  readonly schedule = this.frames.schedule;
  readonly asked: Asked[] = [];

  readonly random = (): number => 0.5;

  readonly fetch = ((url: string, init: RequestInit) =>
    new Promise<Response>((answered, failed) => {
      this.asked.push(new Asked(url, init, answered, failed));
    })) as typeof fetch;

  /** The request of that number; there has to be one. */
  request(number: number): Asked {
    const asked = this.asked[number];
    if (!asked) throw new Error(`${this.asked.length} requests were made, not ${number + 1}`);
    return asked;
  }

  async pass(durationMs: number): Promise<void> {
    this.clock.pass(durationMs);
    await settled();
  }
}

/** Resolves when all that follows from what has happened has happened too. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}
