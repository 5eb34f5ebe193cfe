import { useLayoutEffect, useRef } from "preact/hooks";
import type { Summary } from "../model/conversation.ts";
import { IconButton } from "./IconButton.tsx";
import { Icon } from "./icons.tsx";
import { usePage, useSelected } from "./page.ts";

/** The conversations that this browser keeps. On a narrow page it comes over the chat when it is asked for. */
export function Sidebar() {
  const { store, commands } = usePage();
  const summaries = useSelected((state) => state.summaries);
  const isOpen = useSelected((state) => state.isListOpen);
  const close = () => store.dispatch({ type: "list", isOpen: false });
  const closer = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    if (!isOpen) return;
    const before = document.activeElement;
    closer.current?.querySelector("button")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, [isOpen]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape" && isOpen) close();
  };
  return (
    <>
      {isOpen && <div class="shade" onClick={close} aria-hidden="true" />}
      <nav class={isOpen ? "sidebar is-open" : "sidebar"} aria-label="Conversations" onKeyDown={onKeyDown}>
        <div class="sidebar-head">
          <span class="brand">EzAI</span>
          <span ref={closer}>
            <IconButton class="only-narrow" icon="close" label="Close the list" onClick={close} />
          </span>
        </div>
        <button type="button" class="new-chat" onClick={() => commands.newChat()}>
          <Icon name="plus" />
          New chat
        </button>
        <ul class="conversations">
          {summaries.map((summary) => (
            <Line key={summary.id} summary={summary} />
          ))}
        </ul>
        <p class="hint">Kept in this browser only.</p>
      </nav>
    </>
  );
}

function Line({ summary }: { summary: Summary }) {
  const { commands } = usePage();
  const isCurrent = useSelected((state) => state.currentId === summary.id);
  const isRunning = useSelected((state) => summary.id in state.running);
  return (
    <li class={isCurrent ? "is-current" : ""}>
      <button
        type="button"
        class="conversation"
        aria-current={isCurrent ? "true" : undefined}
        onClick={() => void commands.open(summary.id)}
      >
        {isRunning && <i class="pulse" aria-hidden="true" />}
        <span dir="auto">{summary.title}</span>
      </button>
      <IconButton
        icon="trash"
        label={`Delete “${summary.title}”`}
        onClick={() => {
          if (confirm(`Delete “${summary.title}”? It is kept nowhere else.`)) void commands.remove(summary.id);
        }}
      />
    </li>
  );
}
