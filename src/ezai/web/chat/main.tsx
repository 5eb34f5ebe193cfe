/** The chat page: puts its parts together. */

import "./style/page.css";
import { render } from "preact";
import { Commands, firstSettings, newId } from "./edge/commands.ts";
import { keep } from "./edge/keeping.ts";
import { storeTabConversation, tabConversation } from "./edge/preferences.ts";
import { memoryStorage, openStorage } from "./edge/storage.ts";
import { followTabs, openChannel, tellingTabs } from "./edge/tabs.ts";
import { newConversation } from "./model/conversation.ts";
import { initialState } from "./model/state.ts";
import { createStore } from "./model/store.ts";
import { App } from "./ui/App.tsx";
import { PageContext } from "./ui/page.ts";

const NOTHING_KEPT = "This browser keeps nothing for this page: conversations last until it is closed.";

async function start(root: HTMLElement): Promise<void> {
  const opened = await openStorage().catch(() => null);
  const channel = opened && openChannel();
  const storage = opened && channel ? tellingTabs(opened, channel) : memoryStorage();
  const before = await storage.load(tabConversation() ?? "");
  const store = createStore(initialState(before ?? newConversation(newId(), firstSettings(), Date.now())));
  const commands = new Commands(store, storage);
  const isKept = keep(store, storage);
  if (channel) followTabs(store, storage, isKept, channel);
  store.subscribe(() => storeTabConversation(store.state().currentId));
  render(
    <PageContext.Provider value={{ store, commands }}>
      <App />
    </PageContext.Provider>,
    root,
  );
  if (opened === null) store.dispatch({ type: "notice", notice: NOTHING_KEPT });
  void storage.summaries().then((summaries) => store.dispatch({ type: "summaries", summaries }));
  await commands.loadModels();
}

const root = document.getElementById("app");
if (root !== null) void start(root);
