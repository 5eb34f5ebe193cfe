import { describe, expect, it } from "vitest";
import { chunks } from "../render/chunks.ts";

describe("chunks", () => {
  const code = Array.from({ length: 500 }, (_, line) => `line ${line}`).join("\n");

  it("are all of the code", () => {
    for (const text of ["", "one", code, "x".repeat(20_000), `${"x".repeat(7000)}\n${code}`]) {
      expect(chunks(text).join("")).toBe(text);
    }
  });

  it("end at the ends of lines where they can", () => {
    for (const chunk of chunks(code).slice(0, -1)) expect(chunk.endsWith("\n")).toBe(true);
    expect(chunks(code).length).toBe(9);
    expect(Math.max(...chunks("x".repeat(20_000)).map((chunk) => chunk.length))).toBe(6000);
  });

  it("do not change when the code grows", () => {
    const all = chunks(code);
    for (let end = 0; end < code.length; end += 97) {
      const some = chunks(code.slice(0, end)).slice(0, -1);
      expect(all.slice(0, some.length)).toEqual(some);
    }
  });
});
