import { Icon } from "./icons.tsx";
import { Markdown } from "./Markdown.tsx";

/** What the model thought, folded; null where it is hidden. */
export function Thinking({ text, isOpen }: { text: string | null; isOpen: boolean }) {
  if (text === null || (text === "" && !isOpen)) return <p class="folded-note">Thinking that the provider hides</p>;
  return (
    <details class="folded thinking">
      <summary>
        <Icon name="chevron" />
        <span class={isOpen ? "shimmer" : ""}>{isOpen ? "Thinking …" : "Thought about it"}</span>
      </summary>
      <Markdown source={text} />
    </details>
  );
}
