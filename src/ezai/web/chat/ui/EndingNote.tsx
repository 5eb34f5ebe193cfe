import type { Answer } from "../model/conversation.ts";
import { endingWords } from "../model/endings.ts";
import { Icon } from "./icons.tsx";

interface Props {
  answer: Answer;
  canAct: boolean;
  onRetry: () => void;
  onContinue: () => void;
}

/** Says why an answer is not whole, and offers what can be done. */
export function EndingNote({ answer, canAct, onRetry, onContinue }: Props) {
  const { state } = answer;
  const words = endingWords(state);
  if (words === null) return null;
  const isTrouble = state.kind === "partial" || state.kind === "failed";
  const code = state.kind === "partial" ? state.code : null;
  const requestId = isTrouble ? state.requestId : null;
  return (
    <div class={`ending ${isTrouble ? "is-trouble" : ""}`} data-kind={state.kind}>
      {isTrouble && <Icon name="warning" />}
      <div class="ending-words">
        <strong>{words.title}</strong> <span dir="auto">{words.detail}</span>
        {(code !== null || requestId !== null) && (
          <small>{[code, requestId].filter((part) => part !== null).join(" · ")}</small>
        )}
      </div>
      {canAct && words.canContinue && (
        <button type="button" class="primary" onClick={onContinue}>
          Continue
        </button>
      )}
      {canAct && isTrouble && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}
