import { describe, expect, it } from "vitest";
import { requestOf, versionOf } from "../model/request.ts";
import { type Call, SNIPPETS } from "../model/snippets/index.ts";
import { JSON_TEXT, literal, PYTHON, TYPESCRIPT } from "../model/snippets/literals.ts";
import { asked, SETTINGS } from "./made.ts";

function written(name: string, call: Partial<Call> = {}): string {
  const plain: Call = {
    url: "http://127.0.0.1:8080",
    wantsKey: false,
    request: requestOf(SETTINGS, [asked("Hi")]),
    version: versionOf(SETTINGS),
  };
  const snippet = SNIPPETS.find((one) => one.name === name);
  return snippet?.write({ ...plain, ...call }) ?? "";
}

describe("snippets", () => {
  it("are these four", () => {
    expect(SNIPPETS.map(({ name }) => name)).toEqual(["curl", "Python", "Python, async", "TypeScript"]);
  });

  it("begin as the documentation of the SDKs does", () => {
    expect(written("Python")).toBe(`from anthropic import Anthropic

client = Anthropic(base_url="http://127.0.0.1:8080", api_key="sk-your-key")
with client.messages.stream(
    model="claude-test",
    max_tokens=100,
    messages=[{"role": "user", "content": "Hi"}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    print(stream.get_final_message().usage)
`);
    expect(written("curl")).toBe(`curl --no-buffer http://127.0.0.1:8080/v1/messages \\
  -H "x-api-key: sk-your-key" \\
  -H "anthropic-version: 2026-10-21" \\
  -H "content-type: application/json" \\
  --data-binary @- <<'JSON'
{
  "model": "claude-test",
  "max_tokens": 100,
  "messages": [{"role": "user", "content": "Hi"}],
  "stream": true
}
JSON
`);
  });

  it.each(SNIPPETS)("$name takes a key from the environment, and never shows one", ({ write }) => {
    const code = write({ url: "http://h", wantsKey: true, request: requestOf(SETTINGS, [asked("Hi")]), version: "" });
    expect(code).toContain("EZAI_API_KEY");
    expect(code).not.toContain("sk-");
  });

  it.each(["Python", "Python, async", "TypeScript"])("%s sends a temperature beside its types", (name) => {
    const settings = { ...SETTINGS, temperature: 0.5 };
    const call = { request: requestOf(settings, [asked("Hi")]), version: versionOf(settings) };
    expect(written(name, call)).toContain('"anthropic-version": "2023-06-01"');
    expect(written(name, call)).toMatch(/(extra_body=|\.\.\.)\{\s?"?temperature"?: 0\.5/);
    expect(written(name)).not.toMatch(/temperature|anthropic-version/);
  });
});

describe("literals", () => {
  const value = { "a-b": [1, "two", null, true, false, {}, []], c: { d: "x".repeat(90) } };

  it("are written as each language writes them", () => {
    expect(literal([null, true, false, "ü\n\"'"], PYTHON, 0)).toBe(`[None, True, False, "ü\\n\\"'"]`);
    expect(literal({ a: 1, "b-c": [] }, TYPESCRIPT, 0)).toBe('{ a: 1, "b-c": [] }');
    expect(literal({}, TYPESCRIPT, 0)).toBe("{}");
  });

  it("are the same value again", () => {
    expect(JSON.parse(literal(value, JSON_TEXT, 3))).toEqual(value);
    // biome-ignore lint/security/noGlobalEval: whether it is an expression is what is asked
    expect(globalThis.eval(`(${literal(value, TYPESCRIPT, 2)})`)).toEqual(value);
  });

  it("stand on lines of their own when they are long, indented by where they are", () => {
    expect(literal({ c: "x".repeat(90) }, PYTHON, 1)).toBe(`{\n        "c": "${"x".repeat(90)}",\n    }`);
  });
});
