/** PURE: `/v1/models` as the page reads it. */

import type { Price } from "./cost.ts";

/** A model to choose. */
export interface Model {
  readonly id: string;
  readonly name: string;
  readonly price: Price | null;
  readonly maxTokens: number | null;
}

/** The models of one page of the list, and where the next one begins. What is no model is left out. */
export function readModels(body: unknown): { models: Model[]; after: string | null } {
  const page = record(body);
  const data = Array.isArray(page["data"]) ? page["data"] : [];
  const models = data.map(readModel).filter((model) => model !== null);
  const last = page["last_id"];
  return { models, after: page["has_more"] === true && typeof last === "string" ? last : null };
}

function readModel(value: unknown): Model | null {
  const { id, display_name: name, price, max_tokens: maxTokens } = record(value);
  if (typeof id !== "string" || id === "") return null;
  return {
    id,
    name: typeof name === "string" && name !== "" ? name : id,
    price: readPrice(price),
    maxTokens: typeof maxTokens === "number" ? maxTokens : null,
  };
}

function readPrice(value: unknown): Price | null {
  const { input, output } = record(value);
  return typeof input === "number" && typeof output === "number" ? { input, output } : null;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
