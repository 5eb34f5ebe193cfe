/**
 * PURE: Markdown that is still growing → closed blocks, which are rendered once, and one open block at the end.
 *
 * A block ends where its text cannot matter to what follows: at a blank line before text that stands at the margin, at
 * a fence, or when it has grown too large to be rendered again with every frame. A list stays one block.
 */

/** A block of Markdown, or a fenced block of code by itself. `isClosed` means that nothing is added to it any more. */
export type MarkdownBlock =
  | { readonly kind: "markdown"; readonly source: string; readonly isClosed: boolean }
  | { readonly kind: "code"; readonly language: string; readonly source: string; readonly isClosed: boolean };

/** A text cut into blocks, and how to go on when it has grown. */
export interface Split {
  readonly source: string;
  readonly blocks: readonly MarkdownBlock[];
  /** Where in `source` the last block, which may be open, begins. */
  readonly openAt: number;
}

/** From this size on a block of Markdown is closed at the end of a line. */
export const LARGE_BLOCK_CHARACTERS = 8192;
/** A line that is longer is cut between words, into pieces of the size above. */
const LONG_LINE_CHARACTERS = 2 * LARGE_BLOCK_CHARACTERS;

export const NOTHING: Split = { source: "", blocks: [], openAt: 0 };

const FENCE = /^( {0,3})(`{3,}|~{3,})([^\n]*)$/;
const ANY_FENCE = /^\s*(?:>\s*|[-*+]\s+|\d{1,9}[.)]\s+)*(`{3,}|~{3,})/;
const LIST_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** The blocks of `source`. What `before` has closed is taken over when `source` goes on from there. */
export function split(source: string, before: Split = NOTHING): Split {
  const goesOn = before.source !== "" && source.startsWith(before.source);
  const kept = goesOn ? before.blocks.slice(0, -1) : [];
  const reader = new BlockReader(source, goesOn ? before.openAt : 0, kept);
  return reader.read();
}

/** Reads from the beginning of one block to the end of the text. */
class BlockReader {
  readonly #source: string;
  readonly #blocks: MarkdownBlock[];
  #blockAt: number;
  #at: number;
  #lastAt: number;
  /** What a block that was cut for its size hands on: the head of a table. */
  #head = "";

  constructor(source: string, from: number, blocks: readonly MarkdownBlock[]) {
    this.#source = source;
    this.#blocks = [...blocks];
    this.#blockAt = this.#at = this.#lastAt = from;
    const last = blocks.at(-1);
    if (last?.kind === "markdown" && last.source.length >= LARGE_BLOCK_CHARACTERS) this.#head = tableHead(last.source);
  }

  read(): Split {
    while (this.#at < this.#source.length) this.#line();
    if (this.#blockAt < this.#source.length) this.#push(this.#source.length, false);
    return { source: this.#source, blocks: this.#blocks, openAt: this.#lastAt };
  }

  /** One line outside top-level code: it may end the block, begin code, or simply belong. */
  #line(): void {
    const end = lineEnd(this.#source, this.#at);
    if (end - this.#at > LONG_LINE_CHARACTERS) {
      if (this.#at > this.#blockAt) this.#push(this.#at, true);
      this.#push(cutBetweenWords(this.#source, this.#at), true);
      return;
    }
    const line = this.#source.slice(this.#at, end);
    const fence = FENCE.exec(line);
    if (fence !== null && !this.#inList() && isWholeLine(this.#source, end) && isOpening(fence)) {
      if (this.#at > this.#blockAt) this.#push(this.#at, true);
      this.#code(fence, end + 1);
      return;
    }
    if (ANY_FENCE.test(line)) this.#at = this.#pastNestedCode(line, end);
    else this.#at = end + 1;
    if (this.#at >= this.#source.length) {
      this.#at = this.#source.length;
      return;
    }
    if (line.trim() === "" ? this.#isSeparated() : this.#at - this.#blockAt >= LARGE_BLOCK_CHARACTERS) {
      this.#push(this.#at, true);
    }
  }

  /** A fence at the margin: its code up to the closing fence, or to the end of the text. */
  #code(fence: RegExpExecArray, from: number): void {
    const [, , marks = "", info = ""] = fence;
    const language = info.trim().split(/\s+/, 1)[0] ?? "";
    const closing = closingFence(this.#source, from, marks);
    const end = closing === null ? this.#source.length : Math.max(from, closing.at - 1);
    const source = this.#source.slice(Math.min(from, this.#source.length), end);
    this.#blocks.push({ kind: "code", language, source, isClosed: closing !== null });
    this.#lastAt = this.#blockAt;
    this.#blockAt = this.#at = closing === null ? this.#source.length : Math.min(closing.end + 1, this.#source.length);
    this.#head = "";
  }

  /** Where the line after a fence inside a list or a quote and its code begins. */
  #pastNestedCode(line: string, end: number): number {
    const marks = ANY_FENCE.exec(line)?.[1] ?? "```";
    const closing = closingFence(this.#source, end + 1, marks, true);
    return closing === null ? this.#source.length : closing.end + 1;
  }

  /** Whether the block ends at the blank line before: the next text stands at the margin, and continues no list. */
  #isSeparated(): boolean {
    if (this.#source.slice(this.#blockAt, this.#at).trim() === "") return false;
    const next = nextTextLine(this.#source, this.#at);
    if (next === null || /^[ \t]/.test(next)) return false;
    // One character may still become a list's marker or not: "1" is no item yet.
    return !this.#inList() || !(LIST_ITEM.test(next) || /^(?:[-*+]|\d{1,9}[.)]?)$/.test(next));
  }

  #inList(): boolean {
    return LIST_ITEM.test(this.#source.slice(this.#blockAt, lineEnd(this.#source, this.#blockAt)));
  }

  #push(end: number, isClosed: boolean): void {
    const text = this.#source.slice(this.#blockAt, end);
    if (text.trim() !== "" || !isClosed) {
      this.#blocks.push({ kind: "markdown", source: this.#head + text, isClosed });
      this.#lastAt = this.#blockAt;
      this.#head = isClosed && text.length >= LARGE_BLOCK_CHARACTERS ? tableHead(this.#head + text) : "";
    }
    this.#blockAt = end;
    this.#at = end;
  }
}

/** The first two lines of a table, with which its rest is one again; empty for anything else. */
function tableHead(block: string): string {
  const [first = "", second = ""] = block.trimStart().split("\n", 2);
  return first.includes("|") && second.includes("-") && TABLE_RULE.test(second) ? `${first}\n${second}\n` : "";
}

/** Where a piece of a long line that begins at `from` ends: behind a space, or before a whole character. */
function cutBetweenWords(source: string, from: number): number {
  const limit = from + LARGE_BLOCK_CHARACTERS;
  const space = source.lastIndexOf(" ", limit);
  if (space > from) return space + 1;
  const isHalf = (source.codePointAt(limit - 1) ?? 0) > 0xffff;
  return isHalf ? limit - 1 : limit;
}

function isOpening([, , marks = "", info = ""]: RegExpExecArray): boolean {
  return !(marks.startsWith("`") && info.includes("`"));
}

function isWholeLine(source: string, end: number): boolean {
  return end < source.length;
}

function lineEnd(source: string, at: number): number {
  const end = source.indexOf("\n", at);
  return end === -1 ? source.length : end;
}

/** The first line from `at` on with text in it; null while there is none. */
function nextTextLine(source: string, at: number): string | null {
  for (let from = at; from < source.length; ) {
    const end = lineEnd(source, from);
    const line = source.slice(from, end);
    if (line.trim() !== "") return line;
    from = end + 1;
  }
  return null;
}

/** The first line from `from` on that closes a fence of these marks: where it begins and ends. */
function closingFence(
  source: string,
  from: number,
  marks: string,
  isNested = false,
): { at: number; end: number } | null {
  const margin = isNested ? "[ \\t>]*" : " {0,3}";
  const closing = new RegExp(`^${margin}${marks.charAt(0)}{${marks.length},}[ \\t]*$`, "gm");
  closing.lastIndex = from;
  const found = closing.exec(source);
  return found === null ? null : { at: found.index, end: found.index + found[0].length };
}
