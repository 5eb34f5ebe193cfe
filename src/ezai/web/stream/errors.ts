/** PURE: what the API says when it says no, in a body or in an event. */

import { isRecord, parsedJson, textOrNull } from "./json.ts";

/** An error of the Messages API. */
export interface ApiError {
  /** `error.type`: `overloaded_error`, `invalid_request_error` ...; null where the text is not of the Messages API. */
  readonly type: string | null;
  /** `error.message`, or the text itself. */
  readonly message: string;
  /** `error.details.error_code`, the cause: `upstream_truncated`, `budget_exhausted` ...; null where none is told. */
  readonly code: string | null;
  /** `request_id`, what to quote to the operator; null where none is told. */
  readonly requestId: string | null;
}

const SHOWN_CHARACTERS = 500;

/** The error that a text tells. A text that is no error of the API, as proxies send them, is its own message. */
export function apiError(text: string): ApiError {
  const value = parsedJson(text);
  const body = isRecord(value) ? value : {};
  const error = isRecord(body["error"]) ? body["error"] : {};
  const details = isRecord(error["details"]) ? error["details"] : {};
  return {
    type: textOrNull(error["type"]),
    message: textOrNull(error["message"]) ?? text.trim().slice(0, SHOWN_CHARACTERS),
    code: textOrNull(details["error_code"]),
    requestId: textOrNull(body["request_id"]),
  };
}
