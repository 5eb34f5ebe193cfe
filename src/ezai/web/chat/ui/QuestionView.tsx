import type { Exchange } from "../model/conversation.ts";
import { CopyButton } from "./CopyButton.tsx";
import { IconButton } from "./IconButton.tsx";
import { usePage, useSelected } from "./page.ts";
import { QuestionEditor } from "./QuestionEditor.tsx";
import { QuestionImages } from "./QuestionImages.tsx";

/** What the user asked, as it was typed. */
export function QuestionView({ exchange }: { exchange: Exchange }) {
  const { store } = usePage();
  const isEditing = useSelected((state) => state.editing === exchange.id);
  const isRunning = useSelected((state) => state.currentId in state.running);
  if (isEditing) return <QuestionEditor exchange={exchange} />;
  const { text, images } = exchange.question;
  return (
    <article class="question" aria-label="You">
      <QuestionImages images={images} />
      {text !== "" && (
        <p class="question-text" dir="auto">
          {text}
        </p>
      )}
      <div class="actions">
        <CopyButton text={() => text} label="Copy question" />
        <IconButton
          icon="edit"
          label="Edit and ask again"
          disabled={isRunning}
          onClick={() => store.dispatch({ type: "editing", exchangeId: exchange.id })}
        />
      </div>
    </article>
  );
}
