/** PURE: long code → pieces, so that only the last one is rendered again while it grows. */

const MAX_LINES = 60;
const MAX_CHARACTERS = 6000;

/** The code in pieces that end at the end of a line; a line that is too long is cut. Earlier pieces never change. */
export function chunks(code: string): string[] {
  const pieces: string[] = [];
  for (let from = 0; from < code.length; ) {
    const end = chunkEnd(code, from);
    pieces.push(code.slice(from, end));
    from = end;
  }
  return pieces;
}

function chunkEnd(code: string, from: number): number {
  let at = from;
  for (let line = 0; line < MAX_LINES; line++) {
    const end = code.indexOf("\n", at);
    if ((end === -1 ? code.length : end) - from >= MAX_CHARACTERS) return at > from ? at : from + MAX_CHARACTERS;
    if (end === -1) return code.length;
    at = end + 1;
  }
  return at;
}
