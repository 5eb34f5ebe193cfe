import { useEffect } from "preact/hooks";
import { currentConversation } from "../model/state.ts";
import { Announcer } from "./Announcer.tsx";
import { CodeDialog } from "./CodeDialog.tsx";
import { Composer } from "./Composer.tsx";
import { Header } from "./Header.tsx";
import { KeyDialog } from "./KeyDialog.tsx";
import { useSelected } from "./page.ts";
import { SettingsDialog } from "./SettingsDialog.tsx";
import { Sidebar } from "./Sidebar.tsx";
import { Transcript } from "./Transcript.tsx";
import { Welcome } from "./Welcome.tsx";

/** The page. */
export function App() {
  const isEmpty = useSelected((state) => currentConversation(state).exchanges.length === 0);
  const dialog = useSelected((state) => state.dialog);
  const currentId = useSelected((state) => state.currentId);
  const title = useSelected((state) => currentConversation(state).title);
  useEffect(() => {
    document.title = isEmpty ? "EzAI" : `${title} · EzAI`;
  }, [isEmpty, title]);
  return (
    <div class="page">
      <Sidebar />
      <div class="chat">
        <Header />
        <main class={isEmpty ? "main is-empty" : "main"}>
          {isEmpty ? <Welcome /> : <Transcript key={currentId} />}
          <Composer />
        </main>
      </div>
      {dialog === "settings" && <SettingsDialog />}
      {dialog === "code" && <CodeDialog />}
      {dialog === "key" && <KeyDialog />}
      <Announcer />
    </div>
  );
}
