/** EDGE: what has been read of an answer, over all the connections that it came by. */

import type { Listener } from "./exchange.ts";
import { type Answer, fold, IllegalOrder, NOTHING } from "./fold.ts";
import { type Count, counted } from "./progress.ts";
import type { ErrorEvent, GrowthEvent, IllegalEvent, WireEvent } from "./wire.ts";

/** Who is told how an answer grows. */
export interface GrowthListener {
  /** A stream was opened, the first or a resumed one. */
  onOpen(): void;
  /** An event was read that brought something. */
  onGrowth(answer: Answer): void;
}

/** The state of an answer. `Listener` of each exchange that brings some of it. */
export class Reading implements Listener {
  answer: Answer = NOTHING;
  count: Count;
  /** The event that ended the stream badly; null while none did. */
  failure: ErrorEvent | IllegalEvent | null = null;
  /** The last `request-id` that was told. */
  requestId: string | null = null;
  /** By which name the gateway stops the stream; null where it gave none. */
  streamId: string | null = null;
  /** Whether a stream of the answer was ever opened. */
  wasOpened = false;
  #lastEventId: string | null = null;
  readonly #now: () => number;
  readonly #listener: GrowthListener;

  constructor(count: Count, now: () => number, listener: GrowthListener) {
    this.count = count;
    this.#now = now;
    this.#listener = listener;
  }

  /** Whether something came that would be lost, or come twice, if the request were made again. */
  get hasContent(): boolean {
    return this.answer.parts.length > 0;
  }

  /** Where a resumable stream is picked up: its id and that of the last event; null where it is not resumable. */
  get place(): { readonly streamId: string; readonly lastEventId: string } | null {
    if (this.streamId === null || this.#lastEventId === null) return null;
    return { streamId: this.streamId, lastEventId: this.#lastEventId };
  }

  /** Begins anew, for a request that is made again. */
  restart(): void {
    this.answer = NOTHING;
    this.failure = null;
    this.streamId = this.#lastEventId = null;
    this.wasOpened = false;
  }

  onOpen(headers: Headers): void {
    this.wasOpened = true;
    this.requestId = headers.get("request-id") ?? this.requestId;
    this.streamId = headers.get("x-ezai-stream-id") ?? this.streamId;
    this.#listener.onOpen();
  }

  onEvent({ id, event }: WireEvent): boolean {
    if (this.#wasRead(id)) return false;
    this.#lastEventId = id ?? this.#lastEventId;
    if (event.type === "illegal") return this.#fail(event);
    if (event.type === "error") return this.#fail(event);
    return this.#grow(event);
  }

  /** Ids are numbers that grow; what a resumed stream says again is passed over. */
  #wasRead(id: string | null): boolean {
    return id !== null && this.#lastEventId !== null && Number(id) <= Number(this.#lastEventId);
  }

  #grow(event: GrowthEvent): boolean {
    const before = this.answer;
    try {
      this.answer = fold(before, event);
    } catch (problem) {
      if (!(problem instanceof IllegalOrder)) throw problem;
      return this.#fail({ type: "illegal", reason: problem.message });
    }
    this.count = counted(this.count, event, this.#now());
    if (this.answer !== before) this.#listener.onGrowth(this.answer);
    return this.answer.isWhole;
  }

  #fail(event: ErrorEvent | IllegalEvent): true {
    this.failure = event;
    if (event.type === "error") this.requestId = event.error.requestId ?? this.requestId;
    return true;
  }
}
