/** Runs the streams: one for each conversation that is being answered. */

import {
  type Batch,
  continued,
  type Ending,
  joined,
  kept,
  type Message,
  type MessagesRequest,
  nextFrame,
  openStream,
  type RunningStream,
} from "ezai-stream";
import { type Answer, type Conversation, NO_FIGURES } from "../model/conversation.ts";
import type { Price } from "../model/cost.ts";
import { notContinued, stateOf } from "../model/endings.ts";
import { figuresOf } from "../model/figures.ts";
import { versionOf } from "../model/request.ts";
import type { Store } from "../model/store.ts";

/** A stream to be run: which answer it fills, by which request, and what it continues. */
export interface Task {
  readonly conversation: Conversation;
  readonly request: MessagesRequest;
  readonly answer: Answer;
  readonly continues: Answer | null;
}

export interface Answering {
  start(task: Task): void;
  /** Stops the stream of the conversation; what came is kept. */
  stop(conversationId: string): void;
}

/** Runs streams into the store. `keyWanted` is told when the gateway refused for want of a key. */
export function answering(store: Store, key: () => string | null, keyWanted: () => void): Answering {
  const streams = new Map<string, RunningStream>();
  return {
    start(task) {
      const id = task.conversation.id;
      const filled = new FilledAnswer(task, priceOf(store, task.answer.model));
      const stream = openStream({
        ...requestOptions(task, key()),
        onPhase: (phase) => {
          if (phase.name !== "ended") store.dispatch({ type: "phase", id, phase });
        },
        onBatch: (batch) => {
          const answer = filled.grown(batch);
          // The last one is shown with the ending: the page changes once in a frame.
          if (!batch.isLast) store.dispatch({ type: "answer", id, answer });
        },
      });
      streams.set(id, stream);
      void stream.ended.then((ending) =>
        nextFrame(() => {
          streams.delete(id);
          store.dispatch({ type: "answered", id, answer: filled.ended(ending), now: Date.now() });
          if (ending.kind === "refused" && ending.status === 401) keyWanted();
        }),
      );
    },
    stop: (conversationId) => streams.get(conversationId)?.stop(),
  };
}

function requestOptions(task: Task, key: string | null) {
  const { request, continues } = task;
  return {
    request: continues === null ? request : continued(request, continues),
    headers: { "anthropic-version": versionOf(task.conversation.settings) },
    ...(key === null ? {} : { apiKey: key }),
  };
}

function priceOf(store: Store, model: string): Price | null {
  return store.state().models.find((one) => one.id === model)?.price ?? null;
}

/** An answer as it fills. A continuation shows what it continues in front. */
class FilledAnswer {
  readonly #price: Price | null;
  readonly #continues: Answer | null;
  #answer: Answer;

  constructor(task: Task, price: Price | null) {
    this.#answer = task.answer;
    this.#continues = task.continues;
    this.#price = price;
  }

  grown({ message, changes, progress }: Batch): Answer {
    const before = this.#continues?.figures ?? NO_FIGURES;
    const whole = this.#joined(message);
    const offset = whole.content.length - message.content.length;
    const inputJson = { ...this.#answer.inputJson };
    for (const change of changes) if (change.inputJson !== "") inputJson[change.index + offset] = change.inputJson;
    const figures = figuresOf(progress, message, this.#price, before);
    this.#answer = { ...this.#answer, message: whole, inputJson, figures };
    return this.#answer;
  }

  ended(ending: Ending): Answer {
    if (ending.message === null) {
      if (this.#continues !== null) return notContinued(this.#continues, ending);
      return { ...this.#answer, state: stateOf(ending) };
    }
    const message = this.#joined(ending.message);
    const offset = message.content.length - ending.message.content.length;
    const before = this.#continues?.figures ?? NO_FIGURES;
    return {
      ...this.#answer,
      message,
      unfinished: ending.unfinished.map((place) => place + offset),
      figures: figuresOf(ending.progress, ending.message, this.#price, before),
      state: stateOf(ending),
    };
  }

  #joined(message: Message): Message {
    const continues = this.#continues;
    if (continues === null || continues.message === null) return message;
    const first = [...shownBefore(continues), ...kept(continues)];
    return { ...message, content: joined(first, message.content) };
  }
}

/** Thinking of the answer that is continued: it is not sent, but stays to be seen. */
function shownBefore({ message }: Answer) {
  return (message?.content ?? []).filter((block) => block.type === "thinking");
}
