/** Conversations as tests need them. */

import type { Block, Message } from "ezai-stream";
import { type Answer, type Exchange, NO_FIGURES, type Settings, type State } from "../model/conversation.ts";

export const SETTINGS: Settings = { model: "claude-test", system: "", temperature: null, maxTokens: 100 };

export function message(...content: Block[]): Message {
  const told = { id: "msg_1", type: "message", role: "assistant", model: "claude-test" } as const;
  return { ...told, content, stop_reason: "end_turn", stop_sequence: null, usage: {} };
}

export function text(words: string): Block {
  return { type: "text", text: words };
}

export function answer(id: string, content: Block[], state: State = { kind: "whole", stopReason: "end_turn" }): Answer {
  return {
    id,
    model: "claude-test",
    message: message(...content),
    unfinished: [],
    inputJson: {},
    figures: NO_FIGURES,
    state,
  };
}

export function asked(question: string, ...answers: Answer[]): Exchange {
  return { id: question, question: { text: question, images: [] }, answers, shown: Math.max(0, answers.length - 1) };
}
