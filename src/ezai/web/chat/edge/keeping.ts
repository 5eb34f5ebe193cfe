/** Keeps what the store holds: each conversation that has changed is written soon, and at once when the page goes. */

import type { Conversation } from "../model/conversation.ts";
import type { Store } from "../model/store.ts";
import type { Storage } from "./storage.ts";

const WRITE_AFTER_MS = 1000;
const FULL = "This browser has no room left: the conversation is not kept. Export it, or delete others from the list.";

/** Writes to `storage` whatever changes in `store`, and tells in a notice when that does not work. */
export function keep(store: Store, storage: Storage): void {
  const written = new Map<string, Conversation>(Object.entries(store.state().conversations));
  const latest = new Map<string, Conversation>(written);
  let waiting: ReturnType<typeof setTimeout> | null = null;

  const unwritten = (): Conversation[] => {
    const listed = new Set(store.state().summaries.map(({ id }) => id));
    return [...latest.values()].filter((one) => listed.has(one.id) && written.get(one.id) !== one);
  };

  async function write(): Promise<void> {
    const changed = unwritten();
    for (const conversation of changed) written.set(conversation.id, conversation);
    try {
      await Promise.all(changed.map((conversation) => storage.save(conversation)));
    } catch {
      store.dispatch({ type: "notice", notice: FULL });
    }
  }

  store.subscribe(() => {
    const { conversations } = store.state();
    const left = [...latest.keys()].filter((id) => !(id in conversations));
    // What the page lets go of is written before anybody can ask for it again.
    if (left.length > 0) void write();
    for (const id of left) latest.delete(id);
    for (const conversation of Object.values(conversations)) latest.set(conversation.id, conversation);
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
}
