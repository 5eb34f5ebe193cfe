import type { Answer } from "../model/conversation.ts";
import { figureTexts } from "../model/figures.ts";

/** One line under an answer: its model and figures, live while it comes. */
export function StatusLine({ answer }: { answer: Answer }) {
  const { figures, model } = answer;
  const texts = [model, ...figureTexts(figures)];
  return (
    <p class="status" title={figures.estimated ? "Counted here until the model tells" : "As the model counted"}>
      {texts.map((text, place) => (
        <span key={place}>{text}</span>
      ))}
    </p>
  );
}
