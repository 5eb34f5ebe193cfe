// What the TypeScript SDK makes of streams: one JSON string of SSE text a line in, one JSON answer a line out.
//
//     node accumulate.mjs PATH_OF_THE_SDK

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { default: Anthropic } = await import(pathToFileURL(process.argv[2]));

for await (const line of createInterface({ input: process.stdin })) {
  const body = JSON.parse(line);
  const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream" } });
  const client = new Anthropic({ apiKey: "k", baseURL: "http://sdk", fetch });
  const asked = { model: "m", max_tokens: 1, messages: [{ role: "user", content: "Hi" }] };
  let told;
  try {
    told = await client.messages.stream(asked).finalMessage();
  } catch (error) {
    told = { failed: String(error) };
  }
  process.stdout.write(JSON.stringify(told) + "\n");
}
