/** PURE: a conversation as a file. */

import { type Answer, type Conversation, contentOf, shownAnswer } from "./conversation.ts";
import { endingWords } from "./endings.ts";
import { figureTexts } from "./figures.ts";

/** All of it, to be read by programs. */
export function asJson(conversation: Conversation): string {
  return `${JSON.stringify({ format: "ezai-chat-1", ...conversation }, null, 2)}\n`;
}

/** What is shown of it, to be read by people. */
export function asMarkdown(conversation: Conversation): string {
  const { title, settings, exchanges } = conversation;
  const parts = [`# ${title}`];
  if (settings.system.trim() !== "") parts.push(`> ${settings.system.trim().replaceAll("\n", "\n> ")}`);
  for (const exchange of exchanges) {
    parts.push("## You", ...exchange.question.images.map((image) => `*Image: ${image.name}*`), exchange.question.text);
    const answer = shownAnswer(exchange);
    if (answer !== undefined) parts.push(...answerParts(answer));
  }
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function answerParts(answer: Answer): string[] {
  const words = endingWords(answer.state);
  const figures = figureTexts(answer.figures);
  return [
    `## ${answer.model}`,
    ...contentOf(answer).map((block) => {
      if (block.type === "text") return String(block["text"]);
      return block.type === "tool_use" ? fenced("json", { tool: block["name"], input: block["input"] }) : "";
    }),
    words === null ? "" : `*${words.title}: ${words.detail}*`,
    figures.length === 0 ? "" : `*${figures.join(" · ")}*`,
  ];
}

function fenced(language: string, value: unknown): string {
  return `\`\`\`${language}\n${JSON.stringify(value, null, 2)}\n\`\`\``;
}

/** A file name for it, of letters and digits alone. */
export function fileName(conversation: Conversation, extension: string): string {
  const words = conversation.title
    .normalize("NFKD")
    .toLowerCase()
    .match(/[a-z0-9]+/g) ?? ["chat"];
  return `${words.join("-").slice(0, 60)}.${extension}`;
}
