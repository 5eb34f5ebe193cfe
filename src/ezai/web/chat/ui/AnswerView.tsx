import type { Block } from "ezai-stream";
import { type Answer, contentOf, type Exchange, textOf } from "../model/conversation.ts";
import { AnswerActions } from "./AnswerActions.tsx";
import { EndingNote } from "./EndingNote.tsx";
import { Markdown } from "./Markdown.tsx";
import { StatusLine } from "./StatusLine.tsx";
import { Thinking } from "./Thinking.tsx";
import { ToolUse } from "./ToolUse.tsx";
import { TypingIndicator } from "./TypingIndicator.tsx";

interface Props {
  answer: Answer;
  exchange: Exchange;
  isLast: boolean;
  onRetry: () => void;
  onContinue: () => void;
}

/** An answer: its blocks in their order, how it stands, and what can be done with it. */
export function AnswerView({ answer, exchange, isLast, onRetry, onContinue }: Props) {
  const content = contentOf(answer);
  const isRunning = answer.state.kind === "running";
  const isEmpty = content.every((block) => isEmptyText(block));
  return (
    <article class="answer" aria-label="Answer" aria-busy={isRunning}>
      {content.map((block, place) => (
        <BlockView
          key={place}
          block={block}
          isOpen={isRunning && place === content.length - 1}
          inputJson={answer.inputJson[place] ?? ""}
        />
      ))}
      {isRunning && isEmpty && <TypingIndicator />}
      <EndingNote answer={answer} canAct={isLast} onRetry={onRetry} onContinue={onContinue} />
      <footer class="answer-foot">
        <StatusLine answer={answer} />
        {!isRunning && <AnswerActions exchange={exchange} text={textOf(answer)} canRetry={isLast} onRetry={onRetry} />}
      </footer>
    </article>
  );
}

/** A closed set: a block of a kind that this page does not know is named, and nothing of it is used. */
function BlockView({ block, isOpen, inputJson }: { block: Block; isOpen: boolean; inputJson: string }) {
  switch (block.type) {
    case "text":
      return <Markdown source={String(block["text"] ?? "")} />;
    case "thinking":
      return <Thinking text={String(block["thinking"] ?? "")} isOpen={isOpen} />;
    case "redacted_thinking":
      return <Thinking text={null} isOpen={isOpen} />;
    case "tool_use":
    case "server_tool_use":
      return <ToolUse block={block} isOpen={isOpen} inputJson={inputJson} />;
    default:
      return <p class="unknown-block">A block that this page cannot show: {block.type}</p>;
  }
}

function isEmptyText(block: Block): boolean {
  return block.type === "text" && block["text"] === "";
}
