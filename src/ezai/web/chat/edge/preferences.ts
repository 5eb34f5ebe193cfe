/** Small choices that are remembered. Where there is no room they are forgotten with the page. */

import { ofBrowser, ofTab } from "./web_storage.ts";

const MODEL = "ezai.model";
const CURRENT = "ezai.conversation";

export function lastModel(): string | null {
  return ofBrowser.get(MODEL);
}

export function storeLastModel(model: string): void {
  ofBrowser.set(MODEL, model);
}

/** The conversation that this tab shows, so that it is there again after a reload. */
export function tabConversation(): string | null {
  return ofTab.get(CURRENT);
}

export function storeTabConversation(id: string): void {
  if (ofTab.get(CURRENT) !== id) ofTab.set(CURRENT, id);
}
