import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Exchange } from "../model/conversation.ts";
import { currentConversation } from "../model/state.ts";
import { usePage, useSelected } from "./page.ts";
import { QuestionImages } from "./QuestionImages.tsx";

/** A question that is being edited, to be asked again. */
export function QuestionEditor({ exchange }: { exchange: Exchange }) {
  const { store, commands } = usePage();
  const [text, setText] = useState(exchange.question.text);
  const area = useRef<HTMLTextAreaElement>(null);
  const later = useSelected((state) => {
    const { exchanges } = currentConversation(state);
    return exchanges.length - 1 - exchanges.findIndex((one) => one.id === exchange.id);
  });
  const { images } = exchange.question;
  const isEmpty = text.trim() === "" && images.length === 0;

  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(text.length, text.length);
  }, []);

  const cancel = () => store.dispatch({ type: "editing", exchangeId: null });
  const resend = () => {
    if (!isEmpty) commands.resend(exchange.id, { text: text.trim(), images });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") cancel();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      resend();
    }
  };
  return (
    <div class="question-editor">
      <QuestionImages images={images} />
      <textarea
        ref={area}
        aria-label="Your question"
        dir="auto"
        value={text}
        rows={Math.min(12, text.split("\n").length + 1)}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="buttons">
        {later > 0 && <span class="hint">What comes after it will be removed.</span>}
        <button type="button" onClick={cancel}>
          Cancel
        </button>
        <button type="button" class="primary" disabled={isEmpty} onClick={resend}>
          Ask again
        </button>
      </div>
    </div>
  );
}
