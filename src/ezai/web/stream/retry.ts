/** PURE: whether a request is made again, and after how long. */

/** What an HTTP answer says about asking again. */
export interface RetryAdvice {
  readonly status: number;
  /** `x-should-retry`, which wins over the status; null where it is not said. */
  readonly shouldRetry: boolean | null;
  /** How long the answer asks to wait, in seconds; null where it does not. */
  readonly retryAfterS: number | null;
}

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 8_000;
const LONGEST_RETRY_AFTER_S = 60; // who has to wait longer is better told than kept waiting
const PASSING_ERRORS: ReadonlySet<string> = new Set([
  "overloaded_error",
  "api_error",
  "timeout_error",
  "rate_limit_error",
]);
const FINAL_CODES: ReadonlySet<string> = new Set(["stopped", "budget_exhausted"]);

/** The advice in an answer's headers. `wallMs` is the time of day, for a `retry-after` that is a date. */
export function retryAdvice(status: number, headers: Headers, wallMs: number): RetryAdvice {
  const shouldRetry = headers.get("x-should-retry");
  return {
    status,
    shouldRetry: shouldRetry === "true" ? true : shouldRetry === "false" ? false : null,
    retryAfterS: retryAfterS(headers, wallMs),
  };
}

function retryAfterS(headers: Headers, wallMs: number): number | null {
  const milliseconds = headers.get("retry-after-ms");
  if (milliseconds !== null) return secondsOrNull(Number(milliseconds) / 1000);
  const after = headers.get("retry-after");
  if (after === null) return null;
  const seconds = Number(after);
  return secondsOrNull(Number.isNaN(seconds) ? (Date.parse(after) - wallMs) / 1000 : seconds);
}

function secondsOrNull(seconds: number): number | null {
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** Whether a refusal may pass by asking again: 429 and 5xx, unless the answer says otherwise or asks for a long wait. */
export function isPassing(advice: RetryAdvice): boolean {
  if ((advice.retryAfterS ?? 0) > LONGEST_RETRY_AFTER_S) return false;
  return advice.shouldRetry ?? (advice.status === 429 || advice.status >= 500);
}

/** Whether an error that stands where the answer should begin may pass by asking again. */
export function isPassingError(type: string | null, code: string | null): boolean {
  return PASSING_ERRORS.has(type ?? "") && !FINAL_CODES.has(code ?? "");
}

/** How long to wait before the retry of this number, from 0: doubling, with jitter, no less than was asked for. */
export function retryDelayMs(retry: number, retryAfterS: number | null, random: () => number): number {
  if (retryAfterS !== null && retryAfterS > 0) return retryAfterS * 1000;
  const longestMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** retry);
  return longestMs * (0.5 + random() / 2);
}
