import { useState } from "preact/hooks";
import { storedKey } from "../edge/key.ts";
import { Dialog } from "./Dialog.tsx";
import { usePage } from "./page.ts";

/** Asks for the key that the gateway wants. */
export function KeyDialog() {
  const { store, commands } = usePage();
  const [key, setKey] = useState("");
  const wasRefused = storedKey() !== null;
  // Any other character cannot be sent in a header.
  const isKey = /^[\x21-\x7e]+$/.test(key.trim());
  const onSubmit = (event: Event) => {
    event.preventDefault();
    if (isKey) void commands.useKey(key.trim());
  };
  return (
    <Dialog title="This gateway wants a key" onClose={() => store.dispatch({ type: "dialog", dialog: null })}>
      <form onSubmit={onSubmit}>
        <label class="field">
          <span>Key</span>
          <input
            type="password"
            autofocus
            name="key"
            autocomplete="off"
            spellcheck={false}
            placeholder="sk-ezai-…"
            value={key}
            aria-describedby="key-hint"
            aria-invalid={wasRefused}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <p class="hint" id="key-hint">
          {wasRefused && <strong>The key before was not accepted. </strong>}
          It is kept in this tab only, and gone when you close it. The operator makes one with{" "}
          <code>ezai keys create</code>.
        </p>
        <div class="buttons">
          <button type="submit" class="primary" disabled={!isKey}>
            Use this key
          </button>
        </div>
      </form>
    </Dialog>
  );
}
