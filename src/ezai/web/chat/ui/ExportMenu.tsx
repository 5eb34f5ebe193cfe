import { useRef } from "preact/hooks";
import { download } from "../edge/download.ts";
import { asJson, asMarkdown, fileName } from "../model/exporting.ts";
import { currentConversation } from "../model/state.ts";
import { Icon } from "./icons.tsx";
import { usePage } from "./page.ts";

/** The conversation as a file. */
export function ExportMenu() {
  const { store } = usePage();
  const menu = useRef<HTMLDetailsElement>(null);
  const save = (extension: "json" | "md") => {
    const conversation = currentConversation(store.state());
    const isJson = extension === "json";
    const text = isJson ? asJson(conversation) : asMarkdown(conversation);
    download(fileName(conversation, extension), isJson ? "application/json" : "text/markdown", text);
    if (menu.current !== null) menu.current.open = false;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape" && menu.current !== null) menu.current.open = false;
  };
  return (
    <details class="menu" ref={menu} onKeyDown={onKeyDown}>
      <summary class="icon-button" aria-label="Export" title="Export">
        <Icon name="download" />
      </summary>
      <div class="menu-items">
        <button type="button" onClick={() => save("md")}>
          Markdown
        </button>
        <button type="button" onClick={() => save("json")}>
          JSON
        </button>
      </div>
    </details>
  );
}
