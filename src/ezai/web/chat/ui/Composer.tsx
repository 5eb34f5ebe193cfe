import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ACCEPT, readImage } from "../edge/images.ts";
import type { Image } from "../model/conversation.ts";
import { currentConversation } from "../model/state.ts";
import { AttachedImages } from "./AttachedImages.tsx";
import { IconButton } from "./IconButton.tsx";
import { Notice } from "./Notice.tsx";
import { usePage, useSelected } from "./page.ts";

/** Where the user writes. Enter sends, Shift+Enter makes a line, Escape stops an answer. */
export function Composer() {
  const { store, commands } = usePage();
  const [text, setText] = useState("");
  const [images, setImages] = useState<readonly Image[]>([]);
  const area = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const isRunning = useSelected((state) => state.currentId in state.running);
  const currentId = useSelected((state) => state.currentId);
  const hasModel = useSelected((state) => currentConversation(state).settings.model !== "");
  const canSend = hasModel && !isRunning && (text.trim() !== "" || images.length > 0);

  useEffect(() => area.current?.focus(), [currentId]);
  useLayoutEffect(() => fitHeight(area.current), [text]);
  useStopKey(() => commands.stop());

  async function attach(files: Iterable<File>): Promise<void> {
    for (const file of files) {
      try {
        const image = await readImage(file);
        setImages((before) => [...before, image]);
      } catch (error) {
        store.dispatch({ type: "notice", notice: (error as Error).message });
      }
    }
  }

  function send(): void {
    if (!canSend) return;
    commands.send({ text: text.trim(), images });
    setText("");
    setImages([]);
    area.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  }

  function onFiles(event: ClipboardEvent | DragEvent): void {
    const transfer = event instanceof ClipboardEvent ? event.clipboardData : event.dataTransfer;
    const files = [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length === 0) return;
    event.preventDefault();
    void attach(files);
  }

  return (
    <form
      class="composer"
      aria-label="Your message"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={onFiles}
    >
      <Notice />
      <div class="composer-box">
        <AttachedImages images={images} onRemove={(image) => setImages(images.filter((one) => one !== image))} />
        <textarea
          ref={area}
          rows={1}
          dir="auto"
          aria-label="Message"
          placeholder="Ask something"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={onFiles}
        />
        <div class="composer-foot">
          <IconButton icon="image" label="Attach an image" onClick={() => picker.current?.click()} />
          <input
            ref={picker}
            class="hidden"
            type="file"
            accept={ACCEPT}
            multiple
            tabIndex={-1}
            aria-label="Image files"
            onChange={(event) => {
              void attach([...(event.currentTarget.files ?? [])]);
              event.currentTarget.value = "";
            }}
          />
          <span class="hint keys">{isRunning ? "Esc stops" : "Enter sends · Shift+Enter for a new line"}</span>
          {isRunning ? (
            <IconButton class="send stop" icon="stop" label="Stop" onClick={() => commands.stop()} />
          ) : (
            <IconButton class="send" icon="send" label="Send" disabled={!canSend} onClick={send} />
          )}
        </div>
      </div>
    </form>
  );
}

/** Escape stops, wherever the focus is, unless a dialog or a menu took it for itself. */
function useStopKey(stop: () => void): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (
        event.key === "Escape" &&
        document.querySelector("dialog[open], details.menu[open], .sidebar.is-open") === null
      )
        stop();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}

function fitHeight(area: HTMLTextAreaElement | null): void {
  if (area === null) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}
