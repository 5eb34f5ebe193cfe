/**
 * The request of the page as code that runs as it is shown.
 *
 * literals    values as source code
 * call        what every snippet is made of
 * curl, python, typescript   one language each
 */

import type { Call } from "./call.ts";
import { curl } from "./curl.ts";
import { asyncPython, python } from "./python.ts";
import { typescript } from "./typescript.ts";

export type { Call } from "./call.ts";

/** One way to show a request; `language` is what it is coloured as. */
export interface Snippet {
  readonly name: string;
  readonly language: string;
  readonly write: (call: Call) => string;
}

export const SNIPPETS: readonly Snippet[] = [
  { name: "curl", language: "bash", write: curl },
  { name: "Python", language: "python", write: python },
  { name: "Python, async", language: "python", write: asyncPython },
  { name: "TypeScript", language: "typescript", write: typescript },
];
