/** PURE: everything the page shows, and how each thing that happens changes it. */

import type { Phase } from "ezai-stream";
import { type Answer, type Conversation, type Exchange, type Settings, type Summary, titleOf } from "./conversation.ts";
import type { Model } from "./models.ts";

/** What stands over the page. */
export type Dialog = "settings" | "code" | "key";

export interface PageState {
  readonly models: readonly Model[];
  /** Whether the gateway has told its models, if only that it lists none. */
  readonly modelsHaveCome: boolean;
  /** Why there are no models; null while they are being asked for, and when they are there. */
  readonly modelsProblem: string | null;
  /** The conversations that are kept, newest first. */
  readonly summaries: readonly Summary[];
  /** Those that are shown or being answered. */
  readonly conversations: Readonly<Record<string, Conversation>>;
  readonly currentId: string;
  /** Where the stream of each conversation that is being answered stands. */
  readonly running: Readonly<Record<string, Phase>>;
  /** The exchange whose question is being edited. */
  readonly editing: string | null;
  readonly dialog: Dialog | null;
  readonly isListOpen: boolean;
  /** One sentence at the foot of the page. */
  readonly notice: string | null;
}

export type Action =
  | { readonly type: "models"; readonly models: readonly Model[] }
  | { readonly type: "models failed"; readonly reason: string }
  | { readonly type: "summaries"; readonly summaries: readonly Summary[] }
  | { readonly type: "opened"; readonly conversation: Conversation }
  /** Another tab has written a conversation; null where the one here stays as it is. */
  | { readonly type: "kept elsewhere"; readonly summary: Summary; readonly conversation: Conversation | null }
  | { readonly type: "removed"; readonly id: string; readonly next: Conversation }
  | { readonly type: "settings"; readonly settings: Settings }
  | { readonly type: "asked"; readonly id: string; readonly exchanges: readonly Exchange[]; readonly now: number }
  | { readonly type: "answer"; readonly id: string; readonly answer: Answer }
  | { readonly type: "phase"; readonly id: string; readonly phase: Phase }
  | { readonly type: "answered"; readonly id: string; readonly answer: Answer; readonly now: number }
  | { readonly type: "shown"; readonly exchangeId: string; readonly place: number }
  | { readonly type: "editing"; readonly exchangeId: string | null }
  | { readonly type: "dialog"; readonly dialog: Dialog | null }
  | { readonly type: "list"; readonly isOpen: boolean }
  | { readonly type: "notice"; readonly notice: string | null };

/** The state before anything is known. */
export function initialState(conversation: Conversation): PageState {
  return {
    models: [],
    modelsHaveCome: false,
    modelsProblem: null,
    summaries: [],
    conversations: { [conversation.id]: conversation },
    currentId: conversation.id,
    running: {},
    editing: null,
    dialog: null,
    isListOpen: false,
    notice: null,
  };
}

/** The conversation that is shown. */
export function currentConversation(state: PageState): Conversation {
  const conversation = state.conversations[state.currentId];
  if (conversation === undefined) throw new Error("The conversation that is shown is always there.");
  return conversation;
}

/** The state after something has happened. */
export function reduce(state: PageState, action: Action): PageState {
  switch (action.type) {
    case "models":
      return withModels(state, action.models);
    case "models failed":
      return { ...state, modelsProblem: action.reason };
    case "summaries":
      return { ...state, summaries: action.summaries };
    case "opened":
      return opened(state, action.conversation);
    case "kept elsewhere":
      return keptElsewhere(state, action.summary, action.conversation);
    case "removed":
      return removed(state, action.id, action.next);
    case "settings":
      return changed(state, state.currentId, (conversation) => ({ ...conversation, settings: action.settings }));
    case "asked":
      return asked(state, action.id, action.exchanges, action.now);
    case "answer":
      return withAnswer(state, action.id, action.answer);
    case "phase":
      return { ...state, running: { ...state.running, [action.id]: action.phase } };
    case "answered":
      return answered(state, action.id, action.answer, action.now);
    case "shown":
      return changed(state, state.currentId, (conversation) => showing(conversation, action.exchangeId, action.place));
    case "editing":
      return { ...state, editing: action.exchangeId };
    case "dialog":
      return { ...state, dialog: action.dialog };
    case "list":
      return { ...state, isListOpen: action.isOpen };
    case "notice":
      return { ...state, notice: action.notice };
  }
}

function changed(state: PageState, id: string, change: (conversation: Conversation) => Conversation): PageState {
  const conversation = state.conversations[id];
  if (conversation === undefined) return state;
  return { ...state, conversations: { ...state.conversations, [id]: change(conversation) } };
}

/** A conversation that names no model, or one that is not there, and has not begun, gets the first. */
function withModels(state: PageState, models: readonly Model[]): PageState {
  const next = { ...state, models, modelsHaveCome: true, modelsProblem: null };
  const first = models[0];
  if (first === undefined) return next;
  return changed(next, state.currentId, (conversation) => {
    const isThere = models.some((model) => model.id === conversation.settings.model);
    if (isThere || (conversation.settings.model !== "" && conversation.exchanges.length > 0)) return conversation;
    return { ...conversation, settings: { ...conversation.settings, model: first.id } };
  });
}

/** Only conversations that are shown or being answered stay in memory. */
function opened(state: PageState, conversation: Conversation): PageState {
  const needed = Object.entries(state.conversations).filter(([id]) => id in state.running);
  const there = state.running[conversation.id] === undefined ? conversation : state.conversations[conversation.id];
  return {
    ...state,
    conversations: { ...Object.fromEntries(needed), [conversation.id]: there ?? conversation },
    currentId: conversation.id,
    editing: null,
    isListOpen: false,
  };
}

function keptElsewhere(state: PageState, summary: Summary, conversation: Conversation | null): PageState {
  const others = state.summaries.filter(({ id }) => id !== summary.id);
  const summaries = [summary, ...others].sort((one, other) => other.updatedAt - one.updatedAt);
  const next = { ...state, summaries };
  return conversation === null ? next : changed(next, conversation.id, () => conversation);
}

function removed(state: PageState, id: string, next: Conversation): PageState {
  const summaries = state.summaries.filter((summary) => summary.id !== id);
  const { [id]: _, ...conversations } = state.conversations;
  const without = { ...state, summaries, conversations };
  return state.currentId === id ? opened(without, next) : without;
}

function asked(state: PageState, id: string, exchanges: readonly Exchange[], now: number): PageState {
  const next = changed(state, id, (conversation) => {
    const first = exchanges[0];
    const title = first === undefined ? conversation.title : titleOf(first.question);
    return { ...conversation, title, exchanges, updatedAt: now };
  });
  return listed({ ...next, editing: null, running: { ...next.running, [id]: { name: "connecting" } } }, id);
}

function answered(state: PageState, id: string, answer: Answer, now: number): PageState {
  const { [id]: _, ...running } = state.running;
  const next = withAnswer({ ...state, running }, id, answer);
  return listed(
    changed(next, id, (conversation) => ({ ...conversation, updatedAt: now })),
    id,
  );
}

/** The conversation's line in the list, at the top. */
function listed(state: PageState, id: string): PageState {
  const conversation = state.conversations[id];
  if (conversation === undefined) return state;
  const { title, updatedAt } = conversation;
  return { ...state, summaries: [{ id, title, updatedAt }, ...state.summaries.filter((one) => one.id !== id)] };
}

/** An answer by its id in place of the one that was there; exchanges that it is not of stay the same objects. */
function withAnswer(state: PageState, id: string, answer: Answer): PageState {
  return changed(state, id, (conversation) => {
    const exchanges = conversation.exchanges.map((exchange) => {
      if (!exchange.answers.some((one) => one.id === answer.id)) return exchange;
      return { ...exchange, answers: exchange.answers.map((one) => (one.id === answer.id ? answer : one)) };
    });
    return { ...conversation, exchanges };
  });
}

function showing(conversation: Conversation, exchangeId: string, place: number): Conversation {
  const exchanges = conversation.exchanges.map((exchange) => {
    const last = exchange.answers.length - 1;
    return exchange.id === exchangeId ? { ...exchange, shown: Math.min(Math.max(place, 0), last) } : exchange;
  });
  return { ...conversation, exchanges };
}
