import { currentConversation } from "../model/state.ts";
import { usePage, useSelected } from "./page.ts";

const IDEAS = [
  "Explain how streaming works, in three sentences.",
  "Write a Python function that checks whether a word is a palindrome.",
  "Compare TCP and UDP in a small table.",
];

/** What an empty conversation shows. */
export function Welcome() {
  const { commands } = usePage();
  const hasModel = useSelected((state) => currentConversation(state).settings.model !== "");
  return (
    <div class="welcome">
      <h1>What would you like to know?</h1>
      <div class="ideas">
        {IDEAS.map((idea) => (
          <button
            key={idea}
            type="button"
            disabled={!hasModel}
            onClick={() => commands.send({ text: idea, images: [] })}
          >
            {idea}
          </button>
        ))}
      </div>
    </div>
  );
}
