import { useSelected } from "./page.ts";

/** Shown from the question to the first word. */
export function TypingIndicator() {
  const phase = useSelected((state) => state.running[state.currentId]);
  return (
    <div class="typing">
      <span class="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {phase?.name === "retrying" ? <span class="hint">{phase.reason} Trying again …</span> : null}
    </div>
  );
}
