import { describe, expect, it } from "vitest";
import { newConversation } from "../model/conversation.ts";
import { type Action, currentConversation, initialState, type PageState, reduce } from "../model/state.ts";
import { answer, asked, SETTINGS, text } from "./made.ts";

const MODELS = ["a", "b"].map((id) => ({ id, name: id, price: null, maxTokens: null }));
const empty = (id: string, model = "") => newConversation(id, { ...SETTINGS, model }, 0);
const following = (state: PageState, ...actions: Action[]) => actions.reduce(reduce, state);

describe("the state", () => {
  const running = answer("x", [text("so")], { kind: "running" });
  const answering = following(initialState(empty("1", "a")), {
    type: "asked",
    id: "1",
    exchanges: [asked("Hi", running)],
    now: 5,
  });

  it("gives a conversation that names no model the first one", () => {
    const chosen = (model: string) =>
      currentConversation(following(initialState(empty("1", model)), { type: "models", models: MODELS })).settings
        .model;
    expect([chosen(""), chosen("b"), chosen("gone")]).toEqual(["a", "b", "a"]);
  });

  it("lists a conversation once it was asked something, newest first", () => {
    expect(answering.summaries).toEqual([{ id: "1", title: "Hi", updatedAt: 5 }]);
    expect(answering.running).toEqual({ "1": { name: "connecting" } });
  });

  it("changes only the exchange that an answer is of", () => {
    const two = following(answering, {
      type: "asked",
      id: "1",
      exchanges: [asked("A", answer("y", [])), asked("Hi", running)],
      now: 6,
    });
    const grown = answer("x", [text("so far")], { kind: "running" });
    const next = following(two, { type: "answer", id: "1", answer: grown });
    expect(currentConversation(next).exchanges[0]).toBe(currentConversation(two).exchanges[0]);
    expect(currentConversation(next).exchanges[1]?.answers).toEqual([grown]);
  });

  it("keeps a conversation that is being answered while another one is shown", () => {
    const other = following(answering, { type: "opened", conversation: empty("2") });
    expect(Object.keys(other.conversations).sort()).toEqual(["1", "2"]);
    const whole = answer("x", [text("all")]);
    const done = following(other, { type: "answered", id: "1", answer: whole, now: 7 });
    expect(done.conversations["1"]?.exchanges[0]?.answers).toEqual([whole]);
    expect(done.running).toEqual({});
    const stale = empty("1");
    const back = following(other, { type: "opened", conversation: stale });
    expect(currentConversation(back)).toBe(other.conversations["1"]);
    expect(Object.keys(following(done, { type: "opened", conversation: empty("3") }).conversations)).toEqual(["3"]);
  });

  it("forgets a conversation that is removed, and what still comes for it", () => {
    const removed = following(answering, { type: "removed", id: "1", next: empty("2") });
    const late = following(removed, { type: "answered", id: "1", answer: running, now: 9 });
    expect(late.summaries).toEqual([]);
    expect(Object.keys(late.conversations)).toEqual(["2"]);
    expect(late.currentId).toBe("2");
  });

  it("shows an answer that is there", () => {
    const exchange = asked("Hi", answer("1", []), answer("2", []));
    const two = following(answering, { type: "asked", id: "1", exchanges: [exchange], now: 6 });
    const shown = (place: number) =>
      currentConversation(following(two, { type: "shown", exchangeId: "Hi", place })).exchanges[0]?.shown;
    expect([shown(-1), shown(0), shown(1), shown(9)]).toEqual([0, 0, 1, 1]);
  });
});
