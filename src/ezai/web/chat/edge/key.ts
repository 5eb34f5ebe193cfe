/** The key that the gateway wants: kept in this tab alone, and gone with it. */

import { ofTab } from "./web_storage.ts";

const NAME = "ezai.key";

export function storedKey(): string | null {
  return ofTab.get(NAME);
}

export function storeKey(key: string): void {
  ofTab.set(NAME, key);
}
