/** EDGE: at most one call per frame, however many events come in between. */

import type { Schedule } from "./world.ts";

/** Hands out the newest of the states that it is offered, and the one that was handed out before it. */
export class Batching<State> {
  readonly #schedule: Schedule;
  readonly #handOut: (before: State, after: State) => void;
  #shown: State;
  #newest: State;
  #isScheduled = false;

  constructor(first: State, schedule: Schedule, handOut: (before: State, after: State) => void) {
    this.#shown = this.#newest = first;
    this.#schedule = schedule;
    this.#handOut = handOut;
  }

  /** Takes the newest state. The one that was handed out last, or is waiting to be, causes nothing. */
  offer(state: State): void {
    if (state === this.#newest) return;
    this.#newest = state;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#schedule(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  /** Hands out now what is waiting, if anything is. */
  flush(): void {
    const before = this.#shown;
    if (before === this.#newest) return;
    this.#shown = this.#newest;
    this.#handOut(before, this.#newest);
  }
}
