/** What the user can do: each command changes the store, and starts or stops what has to be. */

import {
  type Answer,
  type Conversation,
  type Exchange,
  newAnswer,
  newConversation,
  type Question,
  type Settings,
  shownAnswer,
} from "../model/conversation.ts";
import { requestOf } from "../model/request.ts";
import { currentConversation } from "../model/state.ts";
import type { Store } from "../model/store.ts";
import { type Answering, answering } from "./answering.ts";
import { fetchModels, KeyWanted } from "./gateway.ts";
import { storedKey, storeKey } from "./key.ts";
import { lastModel, storeLastModel } from "./preferences.ts";
import type { Storage } from "./storage.ts";

const DEFAULT_MAX_TOKENS = 4096;

/** The settings that a new conversation begins with. */
export function firstSettings(): Settings {
  return { model: lastModel() ?? "", system: "", temperature: null, maxTokens: DEFAULT_MAX_TOKENS };
}

export class Commands {
  readonly #store: Store;
  readonly #storage: Storage;
  readonly #answering: Answering;
  /** What is done again once there is a key. */
  #afterKey: (() => void) | null = null;

  constructor(store: Store, storage: Storage) {
    this.#store = store;
    this.#storage = storage;
    this.#answering = answering(store, storedKey, () => this.#askForKey(() => this.retry()));
  }

  // The gateway.

  async loadModels(): Promise<void> {
    try {
      this.#store.dispatch({ type: "models", models: await fetchModels(storedKey()) });
    } catch (error) {
      if (error instanceof KeyWanted) this.#askForKey(null);
      const reason = error instanceof TypeError ? "The gateway could not be reached." : (error as Error).message;
      this.#store.dispatch({ type: "models failed", reason });
    }
  }

  async useKey(key: string): Promise<void> {
    storeKey(key);
    this.#store.dispatch({ type: "dialog", dialog: null });
    await this.loadModels();
    const again = this.#afterKey;
    if (this.#store.state().dialog === "key") return;
    this.#afterKey = null;
    again?.();
  }

  #askForKey(then: (() => void) | null): void {
    if (then !== null) this.#afterKey = then;
    this.#store.dispatch({ type: "dialog", dialog: "key" });
  }

  // Questions and answers.

  /** Ask in the conversation that is shown. */
  send(question: Question): void {
    const { exchanges } = this.#current();
    this.#ask([...exchanges, { id: newId(), question, answers: [], shown: 0 }]);
  }

  /** Ask another question instead of this one; what came after it goes. */
  resend(exchangeId: string, question: Question): void {
    const { exchanges } = this.#current();
    const place = exchanges.findIndex((exchange) => exchange.id === exchangeId);
    this.#ask([...exchanges.slice(0, place), { id: newId(), question, answers: [], shown: 0 }]);
  }

  /** Ask the last question again. An answer that is there can still be looked at; one that failed is replaced. */
  retry(): void {
    this.#ask(this.#current().exchanges);
  }

  /** Ask for the rest of the last answer. */
  continueAnswer(): void {
    const conversation = this.#current();
    const last = conversation.exchanges.at(-1);
    const partial = last && shownAnswer(last);
    if (last === undefined || partial?.message == null || this.#isRunning()) return;
    const answer: Answer = { ...partial, state: { kind: "running" } };
    this.#start(conversation, withAnswerShown(conversation.exchanges, answer), answer, partial);
  }

  /** Stop the answer that is coming, and keep what came. */
  stop(): void {
    this.#answering.stop(this.#store.state().currentId);
  }

  #ask(exchanges: readonly Exchange[]): void {
    const conversation = this.#current();
    const last = exchanges.at(-1);
    if (last === undefined || this.#isRunning()) return;
    const answer = newAnswer(newId(), conversation.settings.model);
    const answers = [...last.answers.filter((one) => one.state.kind !== "failed"), answer];
    const asked = [...exchanges.slice(0, -1), { ...last, answers, shown: answers.length - 1 }];
    this.#start(conversation, asked, answer, null);
  }

  #start(conversation: Conversation, exchanges: readonly Exchange[], answer: Answer, continues: Answer | null): void {
    this.#store.dispatch({ type: "asked", id: conversation.id, exchanges, now: Date.now() });
    const request = requestOf(conversation.settings, exchanges);
    this.#answering.start({ conversation, request, answer, continues });
  }

  #isRunning(): boolean {
    return this.#store.state().currentId in this.#store.state().running;
  }

  // Conversations.

  newChat(): void {
    const { settings, exchanges } = this.#current();
    if (exchanges.length === 0) this.#store.dispatch({ type: "list", isOpen: false });
    else this.#store.dispatch({ type: "opened", conversation: newConversation(newId(), settings, Date.now()) });
  }

  async open(id: string): Promise<void> {
    const conversation = this.#store.state().conversations[id] ?? (await this.#storage.load(id));
    if (conversation === null)
      this.#store.dispatch({ type: "notice", notice: "That conversation is not kept any more." });
    else this.#store.dispatch({ type: "opened", conversation });
  }

  async remove(id: string): Promise<void> {
    this.#answering.stop(id);
    const next = newConversation(newId(), this.#current().settings, Date.now());
    this.#store.dispatch({ type: "removed", id, next });
    await this.#storage.remove(id);
  }

  set(settings: Settings): void {
    storeLastModel(settings.model);
    this.#store.dispatch({ type: "settings", settings });
  }

  #current(): Conversation {
    return currentConversation(this.#store.state());
  }
}

function withAnswerShown(exchanges: readonly Exchange[], answer: Answer): Exchange[] {
  return exchanges.map((exchange) => ({
    ...exchange,
    answers: exchange.answers.map((one) => (one.id === answer.id ? answer : one)),
  }));
}

/** An id that no other has. `crypto.randomUUID` is for secure pages alone, and a gateway may be served without TLS. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
