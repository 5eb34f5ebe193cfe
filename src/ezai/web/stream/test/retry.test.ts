import { expect, test } from "vitest";
import { isPassing, isPassingError, retryAdvice, retryDelayMs } from "../retry.ts";

const NOW_MS = Date.parse("Sun, 22 Nov 2026 12:00:00 GMT");

test.each<[number, Record<string, string>, boolean]>([
  [429, {}, true],
  [500, {}, true],
  [503, {}, true],
  [529, {}, true],
  [400, {}, false],
  [401, {}, false],
  [404, {}, false],
  [408, {}, false],
  [413, {}, false],
  [200, {}, false],
  [529, { "x-should-retry": "false" }, false],
  [409, { "x-should-retry": "true" }, true],
  [429, { "retry-after": "60" }, true],
  [429, { "retry-after": "61" }, false],
])("status %i with %o", (status, headers, expected) => {
  expect(isPassing(retryAdvice(status, new Headers(headers), NOW_MS))).toBe(expected);
});

test.each<[Record<string, string>, number | null]>([
  [{}, null],
  [{ "retry-after": "3" }, 3],
  [{ "retry-after": "0.5" }, 0.5],
  [{ "retry-after-ms": "250", "retry-after": "3" }, 0.25],
  [{ "retry-after": "Sun, 22 Nov 2026 12:00:07 GMT" }, 7],
  [{ "retry-after": "Sun, 22 Nov 2026 11:00:00 GMT" }, 0],
  [{ "retry-after": "soon" }, null],
])("%o asks to wait %s s", (headers, expected) => {
  expect(retryAdvice(429, new Headers(headers), NOW_MS).retryAfterS).toBe(expected);
});

test("waiting doubles up to a limit, with half of it by chance", () => {
  const shortest = [0, 1, 2, 3, 4, 5].map((retry) => retryDelayMs(retry, null, () => 0));
  expect(shortest).toEqual([250, 500, 1000, 2000, 4000, 4000]);
  expect(retryDelayMs(0, null, () => 0.999999)).toBeCloseTo(500, 2);
  expect(retryDelayMs(0, 7, () => 0)).toBe(7000);
});

test.each<[string | null, string | null, boolean]>([
  ["overloaded_error", "draining", true],
  ["api_error", "upstream_truncated", true],
  ["api_error", "budget_exhausted", false],
  ["conflict_error", "stopped", false],
  ["invalid_request_error", "context_overflow", false],
  [null, null, false],
])("an error %s of %s before the answer may pass: %s", (type, code, expected) => {
  expect(isPassingError(type, code)).toBe(expected);
});
