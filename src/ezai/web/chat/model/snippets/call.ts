/** PURE: what every snippet is made of. */

import type { MessagesRequest } from "ezai-stream";
import { NEWEST_VERSION } from "../request.ts";

/** A request as it is shown in code. */
export interface Call {
  /** The origin of the gateway. */
  readonly url: string;
  /** The key is never shown: where one is needed, code takes it from this environment variable. */
  readonly wantsKey: boolean;
  readonly request: MessagesRequest;
  /** The `anthropic-version`. */
  readonly version: string;
}

export const KEY_VARIABLE = "EZAI_API_KEY";
/** Stands where a gateway without keys takes any. */
export const ANY_KEY = "sk-your-key";

/** The headers that an SDK does not send by itself. */
export function headersBeside({ version }: Call): Record<string, string> {
  return version === NEWEST_VERSION ? {} : { "anthropic-version": version };
}

/** Fields that were taken out of the newest version of the API, and so of the types of its SDKs. */
const GONE = new Set(["temperature", "top_p", "top_k"]);

/** The fields of a request that SDKs have parameters for, and those that go beside them. */
export function fields(request: MessagesRequest): { known: [string, unknown][]; gone: Record<string, unknown> } {
  const all = Object.entries(request);
  return {
    known: all.filter(([name]) => !GONE.has(name)),
    gone: Object.fromEntries(all.filter(([name]) => GONE.has(name))),
  };
}
