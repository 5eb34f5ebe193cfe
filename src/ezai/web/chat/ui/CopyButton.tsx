import { useState } from "preact/hooks";
import { copy } from "../edge/clipboard.ts";
import { Icon } from "./icons.tsx";

const SHOWN_MS = 1600;

/** Copies a text, and says that it has. */
export function CopyButton({ text, label }: { text: () => string; label: string }) {
  const [copied, setCopied] = useState(false);
  async function onClick(): Promise<void> {
    setCopied(await copy(text()));
    setTimeout(() => setCopied(false), SHOWN_MS);
  }
  return (
    <button type="button" class="icon-button" aria-label={copied ? "Copied" : label} title={label} onClick={onClick}>
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}
