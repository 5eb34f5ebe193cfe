/** Tabs of one browser share what is kept: what one has written or removed, the others show. */

import type { Conversation, Summary } from "../model/conversation.ts";
import type { Store } from "../model/store.ts";
import type { Storage } from "./storage.ts";

/** An answer that is coming can be followed only where it comes: while `isRunning` the conversation is but listed. */
type News =
  | { readonly type: "written"; readonly summary: Summary; readonly isRunning: boolean }
  | { readonly type: "removed"; readonly id: string };

/** What the tabs hear each other by. A page hears what it tells itself on any other channel than its own: it has one. */
export const openChannel = () => new BroadcastChannel("ezai-chat");

/** The storage, which tells other tabs what is written to it and removed. */
export function tellingTabs(storage: Storage, channel: BroadcastChannel): Storage {
  const tell = (news: News) => channel.postMessage(news);
  return {
    summaries: () => storage.summaries(),
    load: (id) => storage.load(id),
    saveAtOnce: (conversations) => storage.saveAtOnce(conversations),
    async save(conversation) {
      await storage.save(conversation);
      const { id, title, updatedAt } = conversation;
      tell({ type: "written", summary: { id, title, updatedAt }, isRunning: isBeingAnswered(conversation) });
    },
    async remove(id) {
      await storage.remove(id);
      tell({ type: "removed", id });
    },
  };
}

/** Shows in `store` what other tabs tell. `isKept` is told of each conversation that comes in as it is kept. */
export function followTabs(
  store: Store,
  storage: Storage,
  isKept: (conversation: Conversation) => void,
  channel: BroadcastChannel,
): void {
  /** Whether the conversation is the one that is shown, and nothing is coming into it here. */
  const isShownAtRest = (id: string) => {
    const { currentId, running, editing } = store.state();
    return currentId === id && !(id in running) && editing === null;
  };
  channel.onmessage = async ({ data }: MessageEvent<News>) => {
    if (data.type === "removed") {
      // Where it is shown it stays to be read, and is kept again when it goes on.
      store.dispatch({ type: "summaries", summaries: store.state().summaries.filter(({ id }) => id !== data.id) });
      return;
    }
    const { summary, isRunning } = data;
    const loaded = !isRunning && isShownAtRest(summary.id) ? await storage.load(summary.id) : null;
    const conversation = isShownAtRest(summary.id) ? loaded : null;
    if (conversation !== null) isKept(conversation);
    store.dispatch({ type: "kept elsewhere", summary, conversation });
  };
}

function isBeingAnswered({ exchanges }: Conversation): boolean {
  return exchanges.some(({ answers }) => answers.some(({ state }) => state.kind === "running"));
}
