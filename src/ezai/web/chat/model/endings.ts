/** PURE: how a stream ended → how its answer stands, in words. */

import type { Ending } from "ezai-stream";
import type { Answer, State } from "./conversation.ts";

/** The state of an answer whose stream has ended so. */
export function stateOf(ending: Ending): State {
  switch (ending.kind) {
    case "whole":
      return { kind: "whole", stopReason: ending.message.stop_reason };
    case "stopped":
      return { kind: "stopped", canContinue: ending.canContinue };
    case "partial":
      return {
        kind: "partial",
        reason: ending.reason,
        code: ending.error?.code ?? null,
        requestId: ending.requestId,
        canContinue: ending.canContinue,
      };
    case "refused":
      return { kind: "failed", status: ending.status, reason: ending.reason, requestId: ending.requestId };
    case "unreachable":
      return { kind: "failed", status: null, reason: ending.reason, requestId: ending.requestId };
  }
}

/** An answer of which the rest was asked for, and nothing came: all of it stays, and it can be asked for again. */
export function notContinued(answer: Answer, ending: Ending): Answer {
  if (ending.kind === "stopped" || ending.kind === "whole") return answer;
  const reason = `It could not be continued: ${ending.reason}`;
  const state: State = { kind: "partial", reason, code: null, requestId: ending.requestId, canContinue: true };
  return { ...answer, state };
}

/** What is said under an answer whose stream ended; null where nothing has to be. */
export function endingWords(state: State): { title: string; detail: string; canContinue: boolean } | null {
  switch (state.kind) {
    case "running":
      return null;
    case "whole":
      return wholeWords(state.stopReason);
    case "stopped":
      return { title: "Stopped", detail: "You stopped this answer.", canContinue: state.canContinue };
    case "partial":
      return { title: "This answer is not complete", detail: state.reason, canContinue: state.canContinue };
    case "failed":
      return { title: failureTitle(state.status), detail: state.reason, canContinue: false };
  }
}

function wholeWords(stopReason: string | null): { title: string; detail: string; canContinue: boolean } | null {
  switch (stopReason) {
    case "max_tokens":
      return {
        title: "The limit was reached",
        detail: "The answer is as long as “Max tokens” allows.",
        canContinue: true,
      };
    case "model_context_window_exceeded":
      return { title: "The limit was reached", detail: "The model's context is full.", canContinue: false };
    case "refusal":
      return { title: "Declined", detail: "The model declined to answer this.", canContinue: false };
    case "tool_use":
      return {
        title: "A tool was called",
        detail: "This page runs no tools; an app would send the result.",
        canContinue: false,
      };
    default:
      return null;
  }
}

function failureTitle(status: number | null): string {
  if (status === null) return "The gateway could not be reached";
  if (status === 401) return "A key is needed";
  if (status === 402) return "The budget is used up";
  if (status === 429) return "Too many requests";
  return status >= 500 ? "The gateway could not answer" : "The request was refused";
}
