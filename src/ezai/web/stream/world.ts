/** EDGE: what the client needs of the world around it, so that tests and other runtimes can bring their own. */

/** A clock that can be waited on. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Calls back once after `delayMs`, unless the function that it returns is called before. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Calls back once, at a good moment to change the page; never from within the call itself. */
export type Schedule = (callback: () => void) => void;

/** The parts of the world, each of which can be replaced alone. */
export interface World {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  /** When batches are handed out: by default the next animation frame, or 16 ms later where there are none. */
  readonly schedule: Schedule;
  /** At least 0 and less than 1, for the jitter of waiting times. */
  readonly random: () => number;
}

const FRAME_MS = 16;
/** No page that is shown waits this long for a frame. */
const HIDDEN_AFTER_MS = 1000;

/** The world as a browser or Node.js has it, with the parts that are given. */
export function worldWith(parts: Partial<World>): World {
  return {
    fetch: (...asked) => globalThis.fetch(...asked),
    clock: CLOCK,
    schedule: nextFrame,
    random: Math.random,
    ...parts,
  };
}

const CLOCK: Clock = {
  now: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Calls back in the next animation frame. A page that is hidden, or becomes it, has none; there a timer does. */
export function nextFrame(callback: () => void): void {
  const isShown = typeof document !== "undefined" && document.visibilityState === "visible";
  if (!isShown) {
    setTimeout(callback, FRAME_MS);
    return;
  }
  const timer = setTimeout(() => {
    cancelAnimationFrame(frame);
    callback();
  }, HIDDEN_AFTER_MS);
  const frame = requestAnimationFrame(() => {
    clearTimeout(timer);
    callback();
  });
}
