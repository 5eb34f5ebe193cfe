/** localStorage and sessionStorage, which a browser may refuse to a page; then a page has its own memory. */

/** What the page needs of a storage. */
export interface SmallStorage {
  get(name: string): string | null;
  /** Whether there was room. */
  set(name: string, value: string): boolean;
  remove(name: string): void;
}

/** The storage of this tab alone, gone with it. */
export const ofTab = smallStorage(() => sessionStorage);
/** The storage of this browser. */
export const ofBrowser = smallStorage(() => localStorage);

function smallStorage(open: () => Storage): SmallStorage {
  let storage: Storage;
  try {
    storage = open();
  } catch {
    return inMemory();
  }
  return {
    get: (name) => storage.getItem(name),
    set(name, value) {
      try {
        storage.setItem(name, value);
        return true;
      } catch {
        return false;
      }
    },
    remove: (name) => storage.removeItem(name),
  };
}

function inMemory(): SmallStorage {
  const values = new Map<string, string>();
  return {
    get: (name) => values.get(name) ?? null,
    set: (name, value) => values.set(name, value).has(name),
    remove: (name) => void values.delete(name),
  };
}
