/** PURE: a request as a command line. */

import { ANY_KEY, type Call, KEY_VARIABLE } from "./call.ts";
import { JSON_TEXT, literal } from "./literals.ts";

export function curl({ url, wantsKey, request, version }: Call): string {
  const sent: Record<string, string> = {
    "x-api-key": wantsKey ? `$${KEY_VARIABLE}` : ANY_KEY,
    "anthropic-version": version,
    "content-type": "application/json",
  };
  const options = Object.entries(sent).map(([name, value]) => `  -H "${name}: ${value}" \\\n`);
  // A quoted mark: the shell leaves the text between the marks alone, whatever is in it.
  const body = literal({ ...request, stream: true }, JSON_TEXT, 0);
  return `curl --no-buffer ${url}/v1/messages \\\n${options.join("")}  --data-binary @- <<'JSON'\n${body}\nJSON\n`;
}
