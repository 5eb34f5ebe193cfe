import { describe, expect, it } from "vitest";
import { LARGE_BLOCK_CHARACTERS, type MarkdownBlock, NOTHING, type Split, split } from "../render/blocks.ts";

const sources = (blocks: readonly MarkdownBlock[]) => blocks.map((block) => block.source.trim());

/** The text as it grows by `step` characters. */
function grown(source: string, step: number): Split {
  let result = NOTHING;
  for (let end = step; end < source.length + step; end += step) result = split(source.slice(0, end), result);
  return result;
}

const DOCUMENT = `# Title

A paragraph
of two lines.

- one

- two
  with more

  \`\`\`js
  nested()

  still()
  \`\`\`

1. first
2. second

> a quote
> of two lines

| a | b |
|---|---|
| 1 | 2 |

\`\`\`python
def f():

    return "\`\`"
\`\`\`
Text right behind it.

~~~
tildes
\`\`\`
~~~

The end.
`;

describe("blocks", () => {
  it("are cut at blank lines, and code stands alone", () => {
    expect(split(DOCUMENT).blocks.map(({ kind, source }) => [kind, source.trim().split("\n", 1)[0]])).toEqual([
      ["markdown", "# Title"],
      ["markdown", "A paragraph"],
      ["markdown", "- one"],
      ["markdown", "> a quote"],
      ["markdown", "| a | b |"],
      ["code", "def f():"],
      ["markdown", "Text right behind it."],
      ["code", "tildes"],
      ["markdown", "The end."],
    ]);
  });

  it.each([1, 2, 3, 7, 64])("are the same however the text arrives: %i characters at a time", (step) => {
    expect(grown(DOCUMENT, step).blocks).toEqual(split(DOCUMENT).blocks);
  });

  it("keep what was closed, as the same objects", () => {
    const before = split("one\n\ntwo\n\nthr");
    const after = split("one\n\ntwo\n\nthree", before);
    expect(after.blocks[0]).toBe(before.blocks[0]);
    expect(after.blocks[1]).toBe(before.blocks[1]);
    expect(after.blocks[2]).toEqual({ kind: "markdown", source: "three", isClosed: false });
  });

  it("begin anew when the text is another one", () => {
    expect(sources(split("other\n\ntext", split("one\n\ntwo")).blocks)).toEqual(["other", "text"]);
  });

  it("show code from its first line on", () => {
    expect(split("```py\nprint(1)").blocks).toEqual([
      { kind: "code", language: "py", source: "print(1)", isClosed: false },
    ]);
    expect(split("```py\nprint(1)\n```").blocks).toEqual([
      { kind: "code", language: "py", source: "print(1)", isClosed: true },
    ]);
  });

  it("leave code open at a fence that is shorter, or of other marks, or has text behind it", () => {
    for (const line of ["```", "~~~~", "```` x"]) {
      expect(split(`\`\`\`\`\na\n${line}\n`).blocks).toEqual([
        { kind: "code", language: "", source: `a\n${line}\n`, isClosed: false },
      ]);
    }
  });

  it("take inline code in three backticks for text", () => {
    expect(split("``` a ```\nb\n").blocks.map(({ kind }) => kind)).toEqual(["markdown"]);
  });

  it("are closed when they grow large, and a table goes on under the same head", () => {
    const rows = Array.from({ length: 2000 }, (_, row) => `| ${row} | cell |`).join("\n");
    const source = `| n | c |\n|---|---|\n${rows}\n`;
    const { blocks } = split(source);
    expect(blocks.length).toBeGreaterThan(2);
    for (const block of blocks) {
      expect(block.source.startsWith("| n | c |\n|---|---|\n")).toBe(true);
      expect(block.source.length).toBeLessThan(LARGE_BLOCK_CHARACTERS + 100);
    }
    expect(grown(source, 997).blocks).toEqual(blocks);
  });

  it("cut a line that is very long between words, and never inside a character", () => {
    for (const [piece, separator] of [
      ["word ", " "],
      ["😀", ""],
      ["x", ""],
    ]) {
      const source = `${piece}`.repeat(60_000 / `${piece}`.length);
      const { blocks } = split(source);
      expect(blocks.map((block) => block.source).join("")).toBe(source);
      expect(Math.max(...blocks.map((block) => block.source.length))).toBeLessThan(3 * LARGE_BLOCK_CHARACTERS);
      for (const block of blocks.slice(0, -1)) {
        expect(block.source.endsWith(separator ?? "")).toBe(true);
        expect(encodeURIComponent(block.source)).toBeTruthy(); // throws at half a character
      }
      expect(grown(source, 997).blocks).toEqual(blocks);
    }
  });

  it("hold all of the text", () => {
    const text = split(DOCUMENT)
      .blocks.map((block) => block.source)
      .join("");
    for (const word of DOCUMENT.match(/[a-z]{3,}/g) ?? []) {
      if (word !== "python") expect(text).toContain(word);
    }
  });
});
