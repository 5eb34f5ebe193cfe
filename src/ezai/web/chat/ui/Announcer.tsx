import { useEffect, useRef, useState } from "preact/hooks";
import { shownAnswer } from "../model/conversation.ts";
import { endingWords } from "../model/endings.ts";
import { currentConversation, type PageState } from "../model/state.ts";
import { useSelected } from "./page.ts";

/** Tells a screen reader that an answer begins and how it ended; never its words one by one. */
export function Announcer() {
  const phase = useSelected((state) => state.running[state.currentId]?.name ?? "none");
  const ending = useSelected(endingText);
  const [told, setTold] = useState("");
  const currentId = useSelected((state) => state.currentId);
  const runningId = useRef<string | null>(null);
  useEffect(() => {
    if (phase === "streaming") setTold("The answer begins.");
    // What was running before may be another conversation, which goes on.
    else if (phase === "none" && runningId.current === currentId) setTold(ending);
    runningId.current = phase === "none" ? null : currentId;
  }, [phase, currentId]);
  return (
    <div class="hidden" role="status" aria-live="polite">
      {told}
    </div>
  );
}

function endingText(state: PageState): string {
  const last = currentConversation(state).exchanges.at(-1);
  const answer = last && shownAnswer(last);
  if (answer === undefined) return "";
  const words = endingWords(answer.state);
  return words === null ? "The answer is complete." : `${words.title}. ${words.detail}`;
}
