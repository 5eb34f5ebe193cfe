/** EDGE: `openStream`: one answer, from the request to its ending. */

import { Batching } from "./batching.ts";
import { type BlockChange, changesBetween } from "./changes.ts";
import type { Ending } from "./endings.ts";
import { type Answer, NOTHING } from "./fold.ts";
import type { Message, MessagesRequest } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { messagesRequest } from "./requests.ts";
import { type Phase, Session } from "./session.ts";
import { type World, worldWith } from "./world.ts";

/** What to ask, and whom to tell. Only `request` has to be there. */
export interface StreamOptions {
  /** The body of the request; `stream: true` is added to it. */
  readonly request: MessagesRequest;
  /** Where the gateway is: `https://host/prefix`; by default the origin of the page. */
  readonly baseUrl?: string | undefined;
  /** Sent as `x-api-key`. */
  readonly apiKey?: string | undefined;
  /** More headers of the request; they win over the client's own, such as `anthropic-version: 2023-06-01`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Whether to ask for a stream that can be resumed (`x-ezai-resumable: true`); by default yes. */
  readonly resumable?: boolean | undefined;
  /** Told what is new, at most once per frame, and a last time just before `ended` resolves. */
  readonly onBatch?: ((batch: Batch) => void) | undefined;
  /** Told of each change of the phase, at once. */
  readonly onPhase?: ((phase: Phase) => void) | undefined;
  /** Stops the stream as `stop()` does. */
  readonly signal?: AbortSignal | undefined;
  /** After how long without any byte the connection counts as dead; by default 45 s. */
  readonly stallTimeoutS?: number | undefined;
  /** How often a request without content is made again, and a broken stream resumed in a row; by default 3. */
  readonly maxRetries?: number | undefined;
  /** Parts of the world to replace. */
  readonly world?: Partial<World> | undefined;
}

/** What is new since the last batch. Never empty: keep-alives make no batch. */
export interface Batch {
  /** The answer as it grew; blocks that did not change are the same objects as in the batch before. */
  readonly message: Message;
  /** The blocks that are new or changed, in order. Empty where only `message.usage` or `stop_reason` did. */
  readonly changes: readonly BlockChange[];
  readonly progress: Progress;
  /** Whether it is the last one: the stream is over, and `ended` resolves at once. */
  readonly isLast: boolean;
}

/** A running stream. */
export interface RunningStream {
  /** How it ended. Never rejects, and resolves exactly once, after the last batch. */
  readonly ended: Promise<Ending>;
  /** The counters now; for a display that moves also while nothing comes. */
  progress(): Progress;
  /** Ends it with what came so far, and stops the gateway and its upstream. Does nothing once it has ended. */
  stop(): void;
}

const STALL_TIMEOUT_S = 45; // the gateway sends something at least each 15 s
const MAX_RETRIES = 3;

/** Asks for an answer and streams it. Returns at once, before any callback; what fails is told by `ended`.
 *
 * A request is made again only while nothing of the answer has come. What a callback raises goes to the runtime's
 * handler of uncaught errors, and ends nothing.
 */
export function openStream(options: StreamOptions): RunningStream {
  const world = worldWith(options.world ?? {});
  const access = { baseUrl: options.baseUrl ?? "", apiKey: options.apiKey ?? null, headers: options.headers ?? {} };
  let isOver = false;
  const batching = new Batching<Answer>(NOTHING, world.schedule, (before, after) => {
    const { onBatch } = options;
    const batch = onBatch && batchOf(before, after);
    if (batch) guarded(() => onBatch({ ...batch, progress: session.progress(), isLast: isOver }));
  });
  const session = new Session({
    world,
    access,
    asking: messagesRequest(access, options.request, options.resumable ?? true),
    stallTimeoutMs: (options.stallTimeoutS ?? STALL_TIMEOUT_S) * 1000,
    maxRetries: options.maxRetries ?? MAX_RETRIES,
    onPhase: (phase) => guarded(() => options.onPhase?.(phase)),
    onGrowth: (answer) => batching.offer(answer),
  });
  const stop = () => session.stop();
  if (options.signal?.aborted) stop();
  options.signal?.addEventListener("abort", stop);
  const ended = Promise.resolve()
    .then(() => session.run())
    .then((ending) => {
      options.signal?.removeEventListener("abort", stop);
      isOver = true;
      batching.flush();
      session.close();
      return ending;
    });
  return { ended, stop, progress: () => session.progress() };
}

/** What is new; null where nothing is that a reader sees. */
function batchOf(before: Answer, { message, ...after }: Answer): Pick<Batch, "message" | "changes"> | null {
  const changes = changesBetween(before, { message, ...after });
  if (message === null || (message === before.message && changes.length === 0)) return null;
  return { message, changes };
}

function guarded(callback: () => void): void {
  try {
    callback();
  } catch (problem) {
    queueMicrotask(() => {
      throw problem;
    });
  }
}
