import type { Exchange } from "../model/conversation.ts";
import { CopyButton } from "./CopyButton.tsx";
import { IconButton } from "./IconButton.tsx";
import { usePage } from "./page.ts";

interface Props {
  exchange: Exchange;
  text: string;
  canRetry: boolean;
  onRetry: () => void;
}

/** Copy, ask again, and look through the answers that there are. */
export function AnswerActions({ exchange, text, canRetry, onRetry }: Props) {
  const { store } = usePage();
  const { shown, answers, id } = exchange;
  const show = (place: number) => store.dispatch({ type: "shown", exchangeId: id, place });
  return (
    <div class="actions">
      {answers.length > 1 && (
        <span class="versions">
          <IconButton icon="left" label="The answer before" disabled={shown === 0} onClick={() => show(shown - 1)} />
          <span>
            {shown + 1}/{answers.length}
          </span>
          <IconButton
            icon="chevron"
            label="The next answer"
            disabled={shown === answers.length - 1}
            onClick={() => show(shown + 1)}
          />
        </span>
      )}
      {text !== "" && <CopyButton text={() => text} label="Copy answer" />}
      {canRetry && <IconButton icon="retry" label="Ask again" onClick={onRetry} />}
    </div>
  );
}
