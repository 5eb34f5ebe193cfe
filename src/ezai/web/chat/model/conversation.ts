/** PURE: what a conversation is, as it is kept in the browser. */

import type { Block, Message } from "ezai-stream";

/** What a request asks for beside the turns. */
export interface Settings {
  readonly model: string;
  readonly system: string;
  /** Null leaves it out of the request, which is what newer models want. */
  readonly temperature: number | null;
  readonly maxTokens: number;
}

/** An image of the user's, ready to be sent. */
export interface Image {
  readonly name: string;
  readonly mediaType: string;
  /** Base64. */
  readonly data: string;
}

/** What the user sends. */
export interface Question {
  readonly text: string;
  readonly images: readonly Image[];
}

/** What an answer took; `outputTokens` are an estimate while `estimated` says so. */
export interface Figures {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly estimated: boolean;
  readonly firstTokenMs: number | null;
  readonly tokensPerSecond: number | null;
  /** Null where no price is known. */
  readonly costUsd: number | null;
}

/** How an answer stands. `reason` is one sentence for a person. */
export type State =
  | { readonly kind: "running" }
  | { readonly kind: "whole"; readonly stopReason: string | null }
  | { readonly kind: "stopped"; readonly canContinue: boolean }
  | {
      readonly kind: "partial";
      readonly reason: string;
      readonly code: string | null;
      readonly requestId: string | null;
      readonly canContinue: boolean;
    }
  | {
      readonly kind: "failed";
      readonly status: number | null;
      readonly reason: string;
      readonly requestId: string | null;
    };

/** One answer to a question, as far as it came. */
export interface Answer {
  readonly id: string;
  readonly model: string;
  readonly message: Message | null;
  /** Places in the content of blocks that are no whole ones. */
  readonly unfinished: readonly number[];
  /** The JSON of tool inputs as far as it came, by place in the content. */
  readonly inputJson: Readonly<Record<number, string>>;
  readonly figures: Figures;
  readonly state: State;
}

/** A question with its answers, of which one is shown and sent on. */
export interface Exchange {
  readonly id: string;
  readonly question: Question;
  readonly answers: readonly Answer[];
  /** The place of the answer that is shown. */
  readonly shown: number;
}

/** A conversation. Times are milliseconds since 1970. */
export interface Conversation {
  readonly id: string;
  readonly title: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly settings: Settings;
  readonly exchanges: readonly Exchange[];
}

/** What the list of conversations shows. */
export type Summary = Pick<Conversation, "id" | "title" | "updatedAt">;

export const NO_FIGURES: Figures = {
  inputTokens: 0,
  outputTokens: 0,
  estimated: true,
  firstTokenMs: null,
  tokensPerSecond: null,
  costUsd: null,
};

const TITLE_CHARACTERS = 48;

/** An empty conversation. */
export function newConversation(id: string, settings: Settings, now: number): Conversation {
  return { id, title: "New chat", createdAt: now, updatedAt: now, settings, exchanges: [] };
}

/** An answer that has just been asked for. */
export function newAnswer(id: string, model: string): Answer {
  const state: State = { kind: "running" };
  return { id, model, message: null, unfinished: [], inputJson: {}, figures: NO_FIGURES, state };
}

/** The answer of an exchange that is shown. */
export function shownAnswer(exchange: Exchange): Answer | undefined {
  return exchange.answers[exchange.shown];
}

/** The blocks of an answer; none before it begins. */
export function contentOf(answer: Answer): readonly Block[] {
  return answer.message?.content ?? [];
}

/** All text of an answer, without thinking and tools. */
export function textOf(answer: Answer): string {
  const texts = contentOf(answer).map((block) => (block.type === "text" ? String(block["text"] ?? "") : ""));
  return texts.filter((text) => text !== "").join("\n\n");
}

/** What a conversation is called: the beginning of its first question. */
export function titleOf(question: Question): string {
  const line = question.text.trim().replaceAll(/\s+/g, " ");
  const characters = Array.from(line === "" ? (question.images[0]?.name ?? "Image") : line);
  return characters.length > TITLE_CHARACTERS
    ? `${characters.slice(0, TITLE_CHARACTERS).join("").trimEnd()}…`
    : characters.join("");
}

/** The conversation as it is found again: an answer that was running when the page went is a partial one. */
export function interrupted(conversation: Conversation): Conversation {
  const exchanges = conversation.exchanges.map((exchange) => {
    const answers = exchange.answers.map((answer) => (answer.state.kind === "running" ? cutShort(answer) : answer));
    return { ...exchange, answers };
  });
  return { ...conversation, exchanges };
}

function cutShort(answer: Answer): Answer {
  const reason = "The page was closed or loaded again while this answer was coming.";
  const unfinished = contentOf(answer).length === 0 ? [] : [contentOf(answer).length - 1];
  const state: State = { kind: "partial", reason, code: null, requestId: null, canContinue: textOf(answer) !== "" };
  return { ...answer, unfinished, state };
}
