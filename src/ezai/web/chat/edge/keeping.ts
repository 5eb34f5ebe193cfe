/** Keeps what the store holds: each conversation that has changed is written soon, and at once when the page goes. */

import type { Conversation } from "../model/conversation.ts";
import type { Store } from "../model/store.ts";
import type { Storage } from "./storage.ts";

const WRITE_AFTER_MS = 1000;
const FULL = "This browser has no room left: the conversation is not kept. Export it, or delete others from the list.";

/** Writes to `storage` whatever changes in `store`, and tells in a notice when that does not work.
 *
 * Returns a function that is to be told of a conversation that comes into the store as it is kept.
 */
export function keep(store: Store, storage: Storage): (conversation: Conversation) => void {
  const written = new Map<string, Conversation>(Object.entries(store.state().conversations));
  const latest = new Map<string, Conversation>(written);
  let waiting: ReturnType<typeof setTimeout> | null = null;

  const unwritten = (): Conversation[] => {
    const listed = new Set(store.state().summaries.map(({ id }) => id));
    return [...latest.values()].filter((one) => listed.has(one.id) && written.get(one.id) !== one);
  };

  async function write(): Promise<void> {
    await Promise.all(unwritten().map(writeOne));
  }

  async function writeOne(conversation: Conversation): Promise<void> {
    written.set(conversation.id, conversation);
    try {
      await storage.save(conversation);
    } catch {
      // It is tried again with the next change of any conversation, such as one that is deleted to make room.
      if (written.get(conversation.id) === conversation) written.delete(conversation.id);
      store.dispatch({ type: "notice", notice: FULL });
    }
  }

  let before = store.state();
  store.subscribe(() => {
    const { conversations, summaries } = store.state();
    if (conversations === before.conversations && summaries === before.summaries) return;
    before = store.state();
    const left = [...latest.keys()].filter((id) => !(id in conversations));
    // What the page lets go of is written before anybody can ask for it again.
    if (left.length > 0) void write();
    for (const id of left) latest.delete(id);
    for (const conversation of Object.values(conversations)) {
      // What was opened is as it is kept, and another tab may be writing to it: looking at it changes nothing.
      if (!latest.has(conversation.id)) written.set(conversation.id, conversation);
      latest.set(conversation.id, conversation);
    }
    if (waiting !== null || unwritten().length === 0) return;
    waiting = setTimeout(() => {
      waiting = null;
      void write();
    }, WRITE_AFTER_MS);
  });
  addEventListener("pagehide", () => {
    storage.saveAtOnce(unwritten());
    void write();
  });
  return (conversation) => void written.set(conversation.id, conversation);
}
