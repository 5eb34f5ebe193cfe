/** PURE: two looks at an answer → what is new in the second. */

import type { Answer, Part } from "./fold.ts";
import { type Block, isText, isThinking } from "./messages.ts";

/** One block that is new or has changed since the last batch. */
export interface BlockChange {
  /** Its place in `message.content`. */
  readonly index: number;
  /** The block as it is now; a new object whenever something in it changed. */
  readonly block: Block;
  /** Whether it was not there in the last batch. */
  readonly isNew: boolean;
  /** Whether it is complete: nothing will be added. */
  readonly isClosed: boolean;
  /** What was added to its text, thinking or tool input since the last batch; often several tokens, or "". */
  readonly added: string;
  /** The JSON of a tool's input as far as it came, a prefix of an object; "" for other blocks. */
  readonly inputJson: string;
}

/** The blocks of `after` that are not as they were in `before`, an earlier state of the same answer. */
export function changesBetween(before: Answer, after: Answer): readonly BlockChange[] {
  const blocks = after.message?.content ?? [];
  return blocks.flatMap((block, index) => {
    const part = after.parts[index] as Part;
    const earlierBlock = before.message?.content[index];
    const earlierPart = before.parts[index];
    if (block === earlierBlock && part === earlierPart) return [];
    const seen = earlierBlock && earlierPart ? written(earlierBlock, earlierPart).length : 0;
    return {
      index,
      block,
      isNew: earlierBlock === undefined,
      isClosed: part.state !== "open",
      added: written(block, part).slice(seen),
      inputJson: part.inputJson,
    };
  });
}

/** What of a block is written bit by bit. */
function written(block: Block, part: Part): string {
  if (isText(block)) return block.text;
  if (isThinking(block)) return block.thinking;
  return part.inputJson;
}
