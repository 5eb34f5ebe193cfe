/** PURE: a request in Python, with the official SDK. */

import { ANY_KEY, type Call, fields, headersBeside, KEY_VARIABLE } from "./call.ts";
import { literal, PYTHON } from "./literals.ts";

export function python(call: Call): string {
  return `${imports(call, [], "Anthropic")}
client = Anthropic(${client(call)})
with client.messages.stream(
${parameters(call, 1)}) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    print(stream.get_final_message().usage)
`;
}

export function asyncPython(call: Call): string {
  return `${imports(call, ["asyncio"], "AsyncAnthropic")}

async def main() -> None:
    client = AsyncAnthropic(${client(call)})
    async with client.messages.stream(
${parameters(call, 2)}    ) as stream:
        async for text in stream.text_stream:
            print(text, end="", flush=True)
        print((await stream.get_final_message()).usage)


asyncio.run(main())
`;
}

function imports({ wantsKey }: Call, modules: string[], name: string): string {
  const standard = [...modules, ...(wantsKey ? ["os"] : [])].map((module) => `import ${module}\n`);
  return `${standard.join("")}${standard.length > 0 ? "\n" : ""}from anthropic import ${name}\n`;
}

function client({ url, wantsKey }: Call): string {
  const key = wantsKey ? `os.environ["${KEY_VARIABLE}"]` : `"${ANY_KEY}"`;
  return `base_url="${url}", api_key=${key}`;
}

function parameters(call: Call, depth: number): string {
  const { known, gone } = fields(call.request);
  const headers = headersBeside(call);
  const extra: [string, unknown][] = [];
  if (Object.keys(headers).length > 0) extra.push(["extra_headers", headers]);
  if (Object.keys(gone).length > 0) extra.push(["extra_body", gone]);
  const margin = PYTHON.indent.repeat(depth);
  return [...known, ...extra].map(([name, value]) => `${margin}${name}=${literal(value, PYTHON, depth)},\n`).join("");
}
