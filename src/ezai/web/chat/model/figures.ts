/** PURE: the figures under an answer, and their words. */

import type { Message, Progress } from "ezai-stream";
import type { Figures } from "./conversation.ts";
import { costUsd, dollars, inputTokens, type Price } from "./cost.ts";

/** The figures of an answer now; `before` are those of what it continues. */
export function figuresOf(progress: Progress, message: Message | null, price: Price | null, before: Figures): Figures {
  const read = inputTokens(message?.usage ?? {});
  const cost = costUsd(price, read, progress.outputTokens);
  return {
    inputTokens: before.inputTokens + read,
    outputTokens: before.outputTokens + progress.outputTokens,
    estimated: progress.estimated,
    firstTokenMs: before.firstTokenMs ?? progress.timeToFirstTokenMs,
    tokensPerSecond: progress.tokensPerSecond,
    costUsd: cost === null ? null : cost + (before.costUsd ?? 0),
  };
}

/** The figures as short texts, in the order in which they are shown. */
export function figureTexts(figures: Figures): string[] {
  if (figures.firstTokenMs === null) return [];
  const texts = [`${figures.outputTokens.toLocaleString("en")} ${figures.outputTokens === 1 ? "token" : "tokens"}`];
  if (figures.tokensPerSecond !== null) texts.push(`${rate(figures.tokensPerSecond)} tokens/s`);
  texts.push(`first token ${duration(figures.firstTokenMs)}`);
  if (figures.costUsd !== null) texts.push(dollars(figures.costUsd));
  return texts;
}

/** Tokens per second, with a digit more where it matters. */
function rate(tokensPerSecond: number): string {
  return tokensPerSecond < 10 ? tokensPerSecond.toFixed(1) : Math.round(tokensPerSecond).toLocaleString("en");
}

/** A duration for a person: milliseconds below a second. */
export function duration(milliseconds: number): string {
  return milliseconds < 999.5 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
