/**
 * Conversations kept in this browser, in IndexedDB. Nothing of them leaves it but the requests that are sent.
 *
 * A page that goes away may not wait for a database: what of a running answer was not written by then goes to
 * localStorage, at once, and is put back when the page is there again.
 */

import { type Conversation, interrupted, type Summary } from "../model/conversation.ts";
import { ofBrowser } from "./web_storage.ts";

const CONVERSATIONS = "conversations";
const SUMMARIES = "summaries";
const UNWRITTEN = "ezai.unwritten";

/** Where conversations are kept. */
export interface Storage {
  summaries(): Promise<Summary[]>;
  /** The conversation of that id as it was kept; null where there is none. */
  load(id: string): Promise<Conversation | null>;
  /** Rejects when the browser's room is used up. */
  save(conversation: Conversation): Promise<void>;
  remove(id: string): Promise<void>;
  /** Keeps these before it returns, as far as they fit. */
  saveAtOnce(conversations: readonly Conversation[]): void;
}

/** The storage of this browser. Rejects where it has none, as in some private windows. */
export async function openStorage(name = "ezai-chat"): Promise<Storage> {
  const storage = new BrowserStorage(await openDatabase(name));
  await storage.putBackUnwritten();
  return storage;
}

function openDatabase(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(CONVERSATIONS, { keyPath: "id" });
    request.result.createObjectStore(SUMMARIES, { keyPath: "id" });
  };
  return settled(request);
}

class BrowserStorage implements Storage {
  readonly #database: IDBDatabase;

  constructor(database: IDBDatabase) {
    this.#database = database;
    database.onversionchange = () => database.close();
  }

  async summaries(): Promise<Summary[]> {
    const found: Summary[] = await settled(this.#database.transaction(SUMMARIES).objectStore(SUMMARIES).getAll());
    return found.sort((one, other) => other.updatedAt - one.updatedAt);
  }

  async load(id: string): Promise<Conversation | null> {
    const request = this.#database.transaction(CONVERSATIONS).objectStore(CONVERSATIONS).get(id);
    const found: Conversation | undefined = await settled(request);
    return found === undefined ? null : interrupted(found);
  }

  save(conversation: Conversation): Promise<void> {
    const { id, title, updatedAt } = conversation;
    return this.#write((conversations, summaries) => {
      conversations.put(conversation);
      summaries.put({ id, title, updatedAt } satisfies Summary);
    });
  }

  remove(id: string): Promise<void> {
    keepUnwritten(unwritten().filter((one) => one.id !== id));
    return this.#write((conversations, summaries) => {
      conversations.delete(id);
      summaries.delete(id);
    });
  }

  saveAtOnce(conversations: readonly Conversation[]): void {
    if (conversations.length === 0) return;
    const ids = new Set(conversations.map(({ id }) => id));
    // Another tab may have gone a moment before, and none has come since.
    const others = unwritten().filter(({ id }) => !ids.has(id));
    // Where there is no room for the last moments, the database has what was written before.
    keepUnwritten([...others, ...conversations]);
  }

  /** Those for which there is no room wait for the next time. */
  async putBackUnwritten(): Promise<void> {
    const left: Conversation[] = [];
    for (const conversation of unwritten()) {
      const kept = await this.load(conversation.id);
      // The page may have come back, or another tab may have gone on with it.
      if (kept !== null && kept.updatedAt > conversation.updatedAt) continue;
      await this.save(conversation).catch(() => left.push(conversation));
    }
    keepUnwritten(left);
  }

  #write(change: (conversations: IDBObjectStore, summaries: IDBObjectStore) => void): Promise<void> {
    const transaction = this.#database.transaction([CONVERSATIONS, SUMMARIES], "readwrite");
    change(transaction.objectStore(CONVERSATIONS), transaction.objectStore(SUMMARIES));
    transaction.commit(); // at once: what waits is given up when the page goes
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }
}

function keepUnwritten(conversations: readonly Conversation[]): void {
  if (conversations.length === 0) ofBrowser.remove(UNWRITTEN);
  else ofBrowser.set(UNWRITTEN, JSON.stringify(conversations));
}

function unwritten(): Conversation[] {
  try {
    return JSON.parse(ofBrowser.get(UNWRITTEN) ?? "[]");
  } catch {
    return [];
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Where nothing can be kept: conversations last as long as the page. */
export function memoryStorage(): Storage {
  const kept = new Map<string, Conversation>();
  return {
    summaries: async () => [...kept.values()].map(({ id, title, updatedAt }) => ({ id, title, updatedAt })),
    load: async (id) => kept.get(id) ?? null,
    save: async (conversation) => void kept.set(conversation.id, conversation),
    remove: async (id) => void kept.delete(id),
    saveAtOnce: () => {},
  };
}
