/** PURE: a conversation → the request that is sent, which is also the one that "View code" shows. */

import { type Block, kept, type MessagesRequest, type Turn } from "ezai-stream";
import { type Answer, type Exchange, type Question, type Settings, shownAnswer } from "./conversation.ts";

/** The version of the API that SDKs ask for by themselves. */
export const NEWEST_VERSION = "2026-10-21";
/** The one under which a temperature is allowed. */
const VERSION_WITH_TEMPERATURE = "2023-06-01";

/** The request that asks for an answer to the last of these exchanges. */
export function requestOf(settings: Settings, exchanges: readonly Exchange[]): MessagesRequest {
  const last = exchanges.length - 1;
  const messages = exchanges.flatMap((exchange, place) => turnsOf(exchange, place < last));
  return {
    model: settings.model,
    max_tokens: settings.maxTokens,
    ...(settings.system.trim() === "" ? {} : { system: settings.system.trim() }),
    ...(settings.temperature === null ? {} : { temperature: settings.temperature }),
    messages,
  };
}

/** The `anthropic-version` of the request. */
export function versionOf(settings: Pick<Settings, "temperature">): string {
  return settings.temperature === null ? NEWEST_VERSION : VERSION_WITH_TEMPERATURE;
}

function turnsOf(exchange: Exchange, withAnswer: boolean): Turn[] {
  const asked: Turn = { role: "user", content: questionContent(exchange.question) };
  const answer = withAnswer ? shownAnswer(exchange) : undefined;
  const content = answer === undefined ? [] : answerContent(answer);
  return content.length === 0 ? [asked] : [asked, { role: "assistant", content }];
}

/** The user's turn: images first, as models read them best; text alone is a string. */
export function questionContent(question: Question): string | Block[] {
  if (question.images.length === 0) return question.text;
  const images: Block[] = question.images.map((image) => ({
    type: "image",
    source: { type: "base64", media_type: image.mediaType, data: image.data },
  }));
  return question.text === "" ? images : [...images, { type: "text", text: question.text }];
}

/** What of an answer is sent back: its text. Thinking need not be, and a call of a tool would want its result. */
function answerContent(answer: Answer): string | readonly Block[] {
  if (answer.message === null) return [];
  const texts = kept({ message: answer.message, unfinished: answer.unfinished }).filter(
    (block) => block.type === "text",
  );
  const [only, ...others] = texts;
  return only !== undefined && others.length === 0 ? String(only["text"]) : texts;
}
