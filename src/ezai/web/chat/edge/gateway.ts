/** What the page asks the gateway beside answers: its models. */

import { type Model, readModels } from "../model/models.ts";

const MAX_PAGES = 20;

/** The gateway wants a key, or another one. */
export class KeyWanted extends Error {}

/** The models of the gateway. Rejects with `KeyWanted`, or an error whose message is one sentence for a person. */
export async function fetchModels(key: string | null): Promise<Model[]> {
  const models: Model[] = [];
  let after: string | null = null;
  for (let page = 0; page < MAX_PAGES; page++) {
    const query: string = after === null ? "" : `&after_id=${encodeURIComponent(after)}`;
    const read = readModels(await fetchJson(`/v1/models?limit=1000${query}`, key));
    models.push(...read.models);
    after = read.after;
    if (after === null) break;
  }
  return models;
}

async function fetchJson(path: string, key: string | null): Promise<unknown> {
  const headers = { "anthropic-version": "2023-06-01", ...(key === null ? {} : { "x-api-key": key }) };
  const response = await fetch(path, { headers });
  if (response.status === 401) throw new KeyWanted("The gateway wants a key.");
  if (!response.ok) throw new Error(`The gateway did not list its models (${response.status}).`);
  return response.json();
}
