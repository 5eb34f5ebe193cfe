import { describe, expect, it } from "vitest";
import { interrupted, newConversation, titleOf } from "../model/conversation.ts";
import { costUsd, dollars, inputTokens } from "../model/cost.ts";
import { endingWords, notContinued } from "../model/endings.ts";
import { asMarkdown, fileName } from "../model/exporting.ts";
import { duration, figureTexts } from "../model/figures.ts";
import { readModels } from "../model/models.ts";
import { requestOf, versionOf } from "../model/request.ts";
import { answer, asked, SETTINGS, text } from "./made.ts";

describe("cost", () => {
  it("is tokens times the price of a million", () => {
    expect(costUsd({ input: 3, output: 15 }, 1_000_000, 0)).toBe(3);
    expect(costUsd({ input: 3, output: 15 }, 100, 200)).toBeCloseTo(0.0033, 12);
    expect(costUsd(null, 100, 200)).toBeNull();
  });

  it("counts every token that went in", () => {
    expect(inputTokens({ input_tokens: 1, cache_read_input_tokens: 20, cache_creation_input_tokens: 300 })).toBe(321);
    expect(inputTokens({ input_tokens: null })).toBe(0);
  });

  it.each([
    [0, "$0"],
    [0.0000001, "< $0.000001"],
    [0.0000123, "$0.000012"],
    [0.00375, "$0.0037"],
    [0.0999, "$0.100"],
    [1.239, "$1.24"],
    [12, "$12.00"],
  ])("%d is %s", (amount, words) => expect(dollars(amount)).toBe(words));
});

describe("figures", () => {
  const figures = { inputTokens: 1, outputTokens: 1234, estimated: false, firstTokenMs: 999.6, tokensPerSecond: 61.7 };

  it("are short texts", () => {
    expect(figureTexts({ ...figures, costUsd: 0.5 })).toEqual([
      "1,234 tokens",
      "62 tokens/s",
      "first token 1.0 s",
      "$0.50",
    ]);
  });

  it("leave out what is not known", () => {
    expect(figureTexts({ ...figures, tokensPerSecond: null, costUsd: null })).toEqual([
      "1,234 tokens",
      "first token 1.0 s",
    ]);
    expect(figureTexts({ ...figures, firstTokenMs: null, costUsd: 1 })).toEqual([]);
    expect(duration(42.4)).toBe("42 ms");
  });
});

describe("a request", () => {
  it("leaves out what is not set", () => {
    expect(requestOf(SETTINGS, [asked("Hi")])).toEqual({
      model: "claude-test",
      max_tokens: 100,
      messages: [{ role: "user", content: "Hi" }],
    });
    expect(versionOf(SETTINGS)).toBe("2026-10-21");
  });

  it("asks under the old version for a temperature, also for none at all", () => {
    const settings = { ...SETTINGS, temperature: 0, system: " Be brief. " };
    expect(requestOf(settings, [asked("Hi")])).toMatchObject({ temperature: 0, system: "Be brief." });
    expect(versionOf(settings)).toBe("2023-06-01");
  });

  it("sends back text alone, of the answer that is shown", () => {
    const thinking = { type: "thinking", thinking: "Hm.", signature: "s" };
    const tool = { type: "tool_use", id: "t", name: "look", input: {} };
    const first = { ...asked("One", answer("a", [text("no")]), answer("b", [thinking, text("yes"), tool])), shown: 1 };
    expect(requestOf(SETTINGS, [first, asked("Two")]).messages).toEqual([
      { role: "user", content: "One" },
      { role: "assistant", content: "yes" },
      { role: "user", content: "Two" },
    ]);
  });

  it("sends no empty turn, and never the last answer", () => {
    const nothing = asked("One", answer("a", []));
    const messages = requestOf(SETTINGS, [nothing, asked("Two", answer("b", [text("old")]))]).messages;
    expect(messages.map((turn) => turn.content)).toEqual(["One", "Two"]);
  });

  it("sends images before the text", () => {
    const exchange = {
      ...asked("x"),
      question: { text: "", images: [{ name: "n", mediaType: "image/png", data: "QQ==" }] },
    };
    expect(requestOf(SETTINGS, [exchange]).messages[0]?.content).toEqual([
      { type: "image", source: { type: "base64", media_type: "image/png", data: "QQ==" } },
    ]);
  });
});

describe("models", () => {
  it("are read as far as they are models", () => {
    const body = {
      data: [
        { id: "a", display_name: "A", price: { input: 1, output: 2 }, max_tokens: 9 },
        { id: "b" },
        { id: 3 },
        null,
      ],
      has_more: true,
      last_id: "b",
    };
    expect(readModels(body)).toEqual({
      models: [
        { id: "a", name: "A", price: { input: 1, output: 2 }, maxTokens: 9 },
        { id: "b", name: "b", price: null, maxTokens: null },
      ],
      after: "b",
    });
    expect(readModels("what?")).toEqual({ models: [], after: null });
  });
});

describe("a conversation", () => {
  it("is called by its first question", () => {
    expect(titleOf({ text: "  one\n two  ", images: [] })).toBe("one two");
    expect(titleOf({ text: "😀".repeat(60), images: [] })).toBe(`${"😀".repeat(48)}…`);
    expect(titleOf({ text: "", images: [{ name: "cat.png", mediaType: "", data: "" }] })).toBe("cat.png");
  });

  it("that was being answered when the page went is found with a partial answer", () => {
    const running = answer("a", [text("so far")], { kind: "running" });
    const kept = { ...newConversation("c", SETTINGS, 0), exchanges: [asked("Hi", running)] };
    const [found] = interrupted(kept).exchanges[0]?.answers ?? [];
    expect(found?.state).toMatchObject({ kind: "partial", canContinue: true });
    expect(found?.unfinished).toEqual([0]);
    expect(found?.message).toBe(running.message);
  });

  it("is written as Markdown", () => {
    const conversation = {
      ...newConversation("c", { ...SETTINGS, system: "Be\nbrief." }, 0),
      title: "Täst / 1",
      exchanges: [asked("Hi", answer("a", [text("Hello")], { kind: "stopped", canContinue: true }))],
    };
    expect(asMarkdown(conversation)).toBe(
      "# Täst / 1\n\n> Be\n> brief.\n\n## You\n\nHi\n\n## claude-test\n\nHello\n\n*Stopped: You stopped this answer.*\n",
    );
    expect(fileName(conversation, "md")).toBe("ta-st-1.md");
  });
});

describe("an ending", () => {
  it("of a continuation that never began leaves the answer as it was", () => {
    const partial = answer("a", [text("so far")], { kind: "stopped", canContinue: true });
    const facts = { message: null, unfinished: [], canContinue: false, requestId: "req_1" } as const;
    const progress = {
      outputTokens: 0,
      estimated: true,
      timeToFirstTokenMs: null,
      tokensPerSecond: null,
      elapsedMs: 1,
    };
    const refusal = { status: 400, type: null, code: null, reason: "No.", retryAfterS: null };
    expect(notContinued(partial, { kind: "stopped", ...facts, progress })).toBe(partial);
    expect(notContinued(partial, { kind: "refused", ...facts, progress, ...refusal })).toEqual({
      ...partial,
      state: {
        kind: "partial",
        reason: "It could not be continued: No.",
        code: null,
        requestId: "req_1",
        canContinue: true,
      },
    });
  });

  it("is told unless all is well", () => {
    expect(endingWords({ kind: "running" })).toBeNull();
    expect(endingWords({ kind: "whole", stopReason: "end_turn" })).toBeNull();
    expect(endingWords({ kind: "whole", stopReason: "max_tokens" })?.canContinue).toBe(true);
    expect(endingWords({ kind: "failed", status: 429, reason: "r", requestId: null })?.title).toBe("Too many requests");
    expect(endingWords({ kind: "failed", status: null, reason: "r", requestId: null })?.title).toMatch(/reached/);
  });
});
