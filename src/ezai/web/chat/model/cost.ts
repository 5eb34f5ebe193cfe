/** PURE: what an answer costs. */

import type { Usage } from "ezai-stream";

/** USD per million tokens. */
export interface Price {
  readonly input: number;
  readonly output: number;
}

/** Dollars for what was used so far; null without a price. Tokens of the prompt cache count as input. */
export function costUsd(price: Price | null, inputTokens: number, outputTokens: number): number | null {
  return price === null ? null : (inputTokens * price.input + outputTokens * price.output) / 1_000_000;
}

/** All tokens that went in, cached or not. */
export function inputTokens(usage: Usage): number {
  return (usage.input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
}

/** Dollars for a person: two digits that say something, never an exponent. */
export function dollars(amount: number): string {
  if (amount === 0) return "$0";
  if (amount < 0.000_001) return "< $0.000001";
  const digits = amount >= 0.1 ? 2 : Math.min(7, 1 - Math.floor(Math.log10(amount)));
  return `$${amount.toFixed(digits)}`;
}
