import { useState } from "preact/hooks";
import { storedKey } from "../edge/key.ts";
import type { Exchange } from "../model/conversation.ts";
import { requestOf, versionOf } from "../model/request.ts";
import { SNIPPETS } from "../model/snippets/index.ts";
import { currentConversation } from "../model/state.ts";
import { CodeBlock } from "./CodeBlock.tsx";
import { Dialog } from "./Dialog.tsx";
import { usePage, useSelected } from "./page.ts";

const EXAMPLE: Exchange = {
  id: "example",
  question: { text: "Explain streaming in 3 sentences.", images: [] },
  answers: [],
  shown: 0,
};

/** The request of the conversation as code. */
export function CodeDialog() {
  const { store } = usePage();
  const { settings, exchanges } = useSelected(currentConversation);
  const [place, setPlace] = useState(0);
  const snippet = SNIPPETS[place];
  if (snippet === undefined) return null;
  const source = snippet.write({
    url: location.origin,
    wantsKey: storedKey() !== null,
    request: requestOf(settings, exchanges.length === 0 ? [EXAMPLE] : exchanges),
    version: versionOf(settings),
  });
  return (
    <Dialog class="wide" title="View code" onClose={() => store.dispatch({ type: "dialog", dialog: null })}>
      <fieldset class="tabs">
        <legend class="hidden">Language</legend>
        {SNIPPETS.map(({ name }, at) => (
          <label key={name}>
            <input type="radio" name="language" checked={at === place} onChange={() => setPlace(at)} />
            <span>{name}</span>
          </label>
        ))}
      </fieldset>
      <CodeBlock key={snippet.name} language={snippet.language} source={source} isClosed />
      <p class="hint">
        {exchanges.length === 0 ? "An example, until you ask something." : "The last request of this conversation."}
        {storedKey() !== null && (
          <>
            {" "}
            The key comes from the environment variable <code>EZAI_API_KEY</code>.
          </>
        )}
      </p>
    </Dialog>
  );
}
