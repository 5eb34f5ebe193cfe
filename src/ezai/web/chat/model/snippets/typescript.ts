/** PURE: a request in TypeScript, with the official SDK. */

import { ANY_KEY, type Call, fields, headersBeside, KEY_VARIABLE } from "./call.ts";
import { literal, TYPESCRIPT } from "./literals.ts";

export function typescript(call: Call): string {
  return `import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "${call.url}", apiKey: ${key(call)} });
const stream = client.messages
  .stream(
    {
${parameters(call)}    }${options(call)},
  )
  .on("text", (text) => process.stdout.write(text));
console.log((await stream.finalMessage()).usage);
`;
}

function key({ wantsKey }: Call): string {
  return wantsKey ? `process.env["${KEY_VARIABLE}"]` : `"${ANY_KEY}"`;
}

function parameters({ request }: Call): string {
  const { known, gone } = fields(request);
  const lines = known.map(([name, value]) => `      ${TYPESCRIPT.key(name)}${literal(value, TYPESCRIPT, 3)},\n`);
  // Spread in, since the SDK's types know them no more.
  if (Object.keys(gone).length > 0) lines.push(`      ...${literal(gone, TYPESCRIPT, 3)},\n`);
  return lines.join("");
}

function options(call: Call): string {
  const headers = headersBeside(call);
  return Object.keys(headers).length === 0 ? "" : `,\n    { headers: ${literal(headers, TYPESCRIPT, 2)} }`;
}
