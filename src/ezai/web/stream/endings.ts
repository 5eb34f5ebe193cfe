/** PURE: how a stream ended: exactly one `Ending`, which tells a whole answer from a partial one and why. */

import type { Message } from "./messages.ts";
import type { Progress } from "./progress.ts";

/** What every ending tells. */
export interface EndingFacts {
  /** The answer as far as it came; null where none began. */
  readonly message: Message | null;
  /** The places in `message.content` of blocks that were open at the end, or whose tool input is no whole JSON. */
  readonly unfinished: readonly number[];
  /** Whether `continued(request, ending)` asks for the rest: something was kept of an answer that is not all there. */
  readonly canContinue: boolean;
  /** The last state of the counters. */
  readonly progress: Progress;
  /** The `request-id` of the last answer that had one; what to quote to the operator. */
  readonly requestId: string | null;
}

/** The stream told its end: `message` is complete, and `message.stop_reason` says why the model stopped. */
export interface WholeAnswer extends EndingFacts {
  readonly kind: "whole";
  readonly message: Message;
}

/** The stream broke off; `message` holds what came before.
 *
 * - `error`: an `event: error` said why; see `error`.
 * - `cut`: the stream or the connection ended without a word.
 * - `stalled`: no byte came for the stall timeout.
 * - `malformed`: an event was no JSON, or in an order that no answer has.
 */
export interface PartialAnswer extends EndingFacts {
  readonly kind: "partial";
  readonly cause: "error" | "cut" | "stalled" | "malformed";
  /** What the stream's error event said; null unless `cause` is `error`. */
  readonly error: StreamError | null;
  /** One sentence for a person: the error's message, or what happened to the connection. */
  readonly reason: string;
}

/** What an `event: error` says. */
export interface StreamError {
  /** `error.type`: `overloaded_error`, `api_error` ... */
  readonly type: string;
  readonly message: string;
  /** `error.details.error_code`, the cause: `upstream_truncated`, `budget_exhausted` ...; null where none is told. */
  readonly code: string | null;
}

/** The request was answered with an HTTP error, or with something that is no event stream. `message` is null. */
export interface Refused extends EndingFacts {
  readonly kind: "refused";
  readonly status: number;
  /** `error.type`; null where the body was not of the Messages API. */
  readonly type: string | null;
  /** `error.details.error_code`; null where none is told. */
  readonly code: string | null;
  /** One sentence for a person: the error's message, or the body's text. */
  readonly reason: string;
  /** How long the answer asked to wait, in seconds; null where it did not. */
  readonly retryAfterS: number | null;
}

/** No answer came: the network failed, or nobody answered within the stall timeout. `message` is null. */
export interface Unreachable extends EndingFacts {
  readonly kind: "unreachable";
  readonly reason: string;
}

/** The user stopped it, by `stop()` or by the signal; what had come is kept in `message`. */
export interface Stopped extends EndingFacts {
  readonly kind: "stopped";
}

/** How a stream ended. */
export type Ending = WholeAnswer | PartialAnswer | Refused | Unreachable | Stopped;
