/** EDGE: the life of one stream: exchanges in a row, until the answer has its ending. */

import { kept } from "./continuation.ts";
import type { Ending, EndingFacts, PartialAnswer } from "./endings.ts";
import { apiError } from "./errors.ts";
import { type ExchangeEnd, exchange } from "./exchange.ts";
import { type Answer, unfinished } from "./fold.ts";
import type { Message } from "./messages.ts";
import { countFrom, type Progress, progressOf } from "./progress.ts";
import { Reading } from "./reading.ts";
import { type Access, resumeRequest, type Sent, stopRequest } from "./requests.ts";
import { isPassing, isPassingError, retryDelayMs } from "./retry.ts";
import type { World } from "./world.ts";

/** Where a stream stands.
 *
 * `connecting` (the request is made) → `waiting` (answered, no content yet) → `streaming` → `ended`. `retrying` waits
 * for `delayMs` before `connecting` or `resuming` again; `reason` is one sentence for a person.
 */
export type Phase =
  | { readonly name: "connecting" | "waiting" | "streaming" | "resuming" | "ended" }
  | { readonly name: "retrying"; readonly delayMs: number; readonly reason: string };

/** What a session is made of. */
export interface SessionPlan {
  readonly world: World;
  readonly access: Access;
  /** The request for the answer. */
  readonly asking: Sent;
  readonly stallTimeoutMs: number;
  readonly maxRetries: number;
  readonly onPhase: (phase: Phase) => void;
  readonly onGrowth: (answer: Answer) => void;
}

/** What comes after an exchange: the ending, or another request after a while. */
type Step = Ended | { readonly next: Sent; readonly delayMs: number; readonly reason: string };
type Ended = { readonly ending: Ending };

type Refusal = Extract<ExchangeEnd, { readonly kind: "refused" }>;
type Break = Extract<ExchangeEnd, { readonly kind: "unreachable" | "cut" | "stalled" }>;

/** One stream. `run` is called once. */
export class Session {
  readonly #plan: SessionPlan;
  readonly #stopping = new AbortController();
  readonly #reading: Reading;
  #phase: Phase["name"] | null = null;
  /** Retries since the answer last grew. */
  #retries = 0;
  /** Why the connection broke that is being resumed; null where none is. */
  #broken: Break | null = null;
  #endedMs: number | null = null;

  constructor(plan: SessionPlan) {
    const { clock } = plan.world;
    this.#plan = plan;
    this.#reading = new Reading(countFrom(clock.now()), () => clock.now(), {
      onOpen: () => this.#enter({ name: this.#reading.hasContent ? "streaming" : "waiting" }),
      onGrowth: (answer) => this.#grew(answer),
    });
  }

  /** Asks, again where that may help, and returns how it ended. */
  async run(): Promise<Ending> {
    let sent = this.#plan.asking;
    while (!this.#stopping.signal.aborted) {
      this.#enter({ name: sent.method === "GET" ? "resuming" : "connecting" });
      const { world, stallTimeoutMs } = this.#plan;
      const step = this.#after(await exchange(world, sent, this.#reading, this.#stopping.signal, stallTimeoutMs));
      if ("ending" in step) return step.ending;
      this.#enter({ name: "retrying", delayMs: step.delayMs, reason: step.reason });
      await this.#wait(step.delayMs);
      sent = step.next;
    }
    return this.#stopped().ending;
  }

  /** The counters now. */
  progress(): Progress {
    return progressOf(this.#reading.count, this.#endedMs ?? this.#plan.world.clock.now());
  }

  /** Ends it, and lets the gateway know where closing the connection does not tell it. */
  stop(): void {
    if (this.#endedMs !== null || this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    const { streamId } = this.#reading;
    if (streamId === null) return;
    const { url, ...init } = stopRequest(this.#plan.access, streamId);
    void this.#plan.world.fetch(url, { ...init, keepalive: true }).catch(() => undefined);
  }

  /** Tells the last phase; after it nothing is told. */
  close(): void {
    this.#enter({ name: "ended" });
  }

  #enter(phase: Phase): void {
    if (phase.name === this.#phase) return;
    this.#phase = phase.name;
    this.#plan.onPhase(phase);
  }

  #grew(answer: Answer): void {
    if (this.#reading.hasContent) {
      this.#retries = 0;
      this.#broken = null;
      this.#enter({ name: "streaming" });
    }
    this.#plan.onGrowth(answer);
  }

  #wait(delayMs: number): Promise<void> {
    const { signal } = this.#stopping;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const forget = this.#plan.world.clock.after(delayMs, resolve);
      signal.addEventListener("abort", () => {
        forget();
        resolve();
      });
    });
  }

  #after(end: ExchangeEnd): Step {
    switch (end.kind) {
      case "aborted":
        return this.#stopped();
      case "over":
        return this.#afterLastEvent();
      case "refused":
        return this.#afterRefusal(end);
      default:
        return this.#afterBreak(end);
    }
  }

  #afterLastEvent(): Step {
    const { failure, hasContent, answer } = this.#reading;
    if (failure === null) return this.#whole(answer.message as Message);
    if (failure.type === "illegal") return this.#partial("malformed", failure.reason);
    const { type, code, message } = failure.error;
    const again = !hasContent && isPassingError(type, code) ? this.#again(message) : null;
    return again ?? this.#partial("error", message, { type: type ?? "api_error", message, code });
  }

  #afterRefusal(refusal: Refusal): Step {
    const { type, code, message, requestId } = apiError(refusal.text);
    const reason = message || `The answer was an HTTP status ${refusal.advice.status}.`;
    if (this.#broken !== null) return this.#afterRefusedResume(refusal, this.#broken, reason);
    const { retryAfterS, status } = refusal.advice;
    const again = isPassing(refusal.advice) ? this.#again(reason, retryAfterS) : null;
    this.#reading.requestId = refusal.headers.get("request-id") ?? requestId ?? this.#reading.requestId;
    return again ?? { ending: { ...this.#facts(false), kind: "refused", status, type, code, reason, retryAfterS } };
  }

  /** A stream that is not there any more (404) cannot be resumed: what is left is to continue, or to ask anew. */
  #afterRefusedResume(refusal: Refusal, broken: Break, reason: string): Step {
    if (isPassing(refusal.advice)) return this.#resume(reason, refusal.advice.retryAfterS) ?? this.#brokenOff(broken);
    this.#broken = null;
    return (this.#reading.hasContent ? null : this.#again(broken.reason)) ?? this.#brokenOff(broken);
  }

  #afterBreak(end: Break): Step {
    const broken = this.#broken ?? end;
    const { place, hasContent } = this.#reading;
    if (place !== null) {
      this.#broken = broken;
      return this.#resume(end.reason) ?? this.#brokenOff(broken);
    }
    return (hasContent ? null : this.#again(end.reason)) ?? this.#brokenOff(broken);
  }

  /** The same request once more; null when that has been tried often enough. */
  #again(reason: string, retryAfterS: number | null = null): Step | null {
    const delayMs = this.#nextDelayMs(retryAfterS);
    if (delayMs === null) return null;
    this.#reading.restart();
    return { next: this.#plan.asking, delayMs, reason };
  }

  /** The stream from where it was left; null when that has been tried often enough. */
  #resume(reason: string, retryAfterS: number | null = null): Step | null {
    const { place } = this.#reading;
    const delayMs = this.#nextDelayMs(retryAfterS);
    if (place === null || delayMs === null) return null;
    return { next: resumeRequest(this.#plan.access, place.streamId, place.lastEventId), delayMs, reason };
  }

  #nextDelayMs(retryAfterS: number | null): number | null {
    if (this.#retries >= this.#plan.maxRetries) return null;
    return retryDelayMs(this.#retries++, retryAfterS, this.#plan.world.random);
  }

  // Endings.

  #whole(message: Message): Ended {
    return { ending: { ...this.#facts(message.stop_reason === "max_tokens"), kind: "whole", message } };
  }

  #stopped(): Ended {
    return { ending: { ...this.#facts(true), kind: "stopped" } };
  }

  #brokenOff({ kind, reason }: Break): Ended {
    if (!this.#reading.wasOpened) return { ending: { ...this.#facts(false), kind: "unreachable", reason } };
    return this.#partial(kind === "stalled" ? "stalled" : "cut", reason);
  }

  #partial(cause: PartialAnswer["cause"], reason: string, error: PartialAnswer["error"] = null): Ended {
    return { ending: { ...this.#facts(true), kind: "partial", cause, reason, error } };
  }

  #facts(isIncomplete: boolean): EndingFacts {
    this.#endedMs ??= this.#plan.world.clock.now();
    const { answer, requestId } = this.#reading;
    const soFar = { message: answer.message, unfinished: unfinished(answer) };
    return {
      ...soFar,
      canContinue: isIncomplete && kept(soFar).length > 0,
      progress: this.progress(),
      requestId,
    };
  }
}
