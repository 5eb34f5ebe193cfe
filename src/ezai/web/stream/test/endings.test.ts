import { describe, expect, test } from "vitest";
import { begun, phaseNames, REQUEST, shownText } from "./dialogue.ts";
import { answer, failure, input, last, openText, openTool, PING, STOP, shut, start, text } from "./events.ts";

const ERROR_BODY = {
  type: "error",
  error: { type: "invalid_request_error", message: "max_tokens: has to be there", details: { error_code: "bad" } },
  request_id: "req_body",
};

async function opened(...events: string[]) {
  const dialogue = await begun();
  const asked = dialogue.world.request(0);
  await asked.open({ "request-id": "req_1" });
  await asked.send(...events);
  return Object.assign(dialogue, { asked });
}

describe("the request", () => {
  test("asks for a stream that can be resumed, at the gateway, as whom it is told", async () => {
    const { world } = await begun({ baseUrl: "http://gateway/prefix/", apiKey: "k", headers: { "X-App": "chat" } });
    const asked = world.request(0);
    expect(asked.url).toBe("http://gateway/prefix/v1/messages");
    expect(asked.method).toBe("POST");
    expect(asked.json).toEqual({ ...REQUEST, stream: true });
    const names = ["content-type", "anthropic-version", "x-api-key", "x-app", "x-ezai-resumable"];
    expect(names.map((name) => asked.header(name))).toEqual(["application/json", "2023-06-01", "k", "chat", "true"]);
  });

  test("is what its user makes of it", async () => {
    const { world } = await begun({ resumable: false, headers: { "Anthropic-Version": "2026-10-21" } });
    expect(world.request(0).header("x-ezai-resumable")).toBeNull();
    expect(world.request(0).header("anthropic-version")).toBe("2026-10-21");
  });
});

describe("whole", () => {
  test("with message_stop, at once, and the connection is read to its end", async () => {
    const dialogue = await opened(answer("Hel", "lo"));
    expect(dialogue.ending).toMatchObject({
      kind: "whole",
      message: { content: [{ text: "Hello" }], stop_reason: "end_turn" },
      unfinished: [],
      canContinue: false,
      requestId: "req_1",
      progress: { outputTokens: 7, estimated: false },
    });
    expect(phaseNames(dialogue)).toEqual(["connecting", "waiting", "streaming", "ended"]);
    expect(dialogue.asked.wasLeft).toBe(false);
    await dialogue.asked.close();
    expect(dialogue.world.clock.timerCount).toBe(0);
  });

  test("a connection that nobody closes is left after a while", async () => {
    const { asked, world } = await opened(answer("a"));
    await world.pass(5_000);
    expect(asked.wasLeft).toBe(true);
  });

  test("at max_tokens there may be more", async () => {
    const { ending } = await opened(start(), openText(), text("a"), shut(), last("max_tokens"), STOP);
    expect(ending).toMatchObject({ kind: "whole", canContinue: true });
  });
});

describe("partial", () => {
  test("by an error event, with its cause; nothing after it counts and nothing is asked again", async () => {
    const broken = failure("api_error", "upstream_truncated", "The upstream's stream broke off.");
    const { ending, world } = await opened(start(), openText(), text("Half "), broken, text("more"));
    expect(ending).toMatchObject({
      kind: "partial",
      cause: "error",
      error: { type: "api_error", code: "upstream_truncated", message: "The upstream's stream broke off." },
      reason: "The upstream's stream broke off.",
      requestId: "req_event",
      message: { content: [{ text: "Half " }] },
      unfinished: [0],
      canContinue: true,
    });
    await world.pass(60_000);
    expect(world.asked).toHaveLength(1);
  });

  test.each(["close", "reset"] as const)("by a connection that ends without a word (%s)", async (how) => {
    const dialogue = await opened(start(), openText(), text("Half"), last());
    await dialogue.asked[how]();
    expect(dialogue.ending).toMatchObject({ kind: "partial", cause: "cut", error: null, canContinue: true });
    expect(shownText(dialogue)).toBe("Half");
    expect(dialogue.world.asked).toHaveLength(1);
  });

  test("by silence, which keep-alives break", async () => {
    const dialogue = await opened(start(), openText(), text("Half"));
    await dialogue.world.pass(44_000);
    await dialogue.asked.send(PING);
    await dialogue.world.pass(44_000);
    expect(dialogue.ending).toBeNull();
    await dialogue.world.pass(1_000);
    expect(dialogue.ending).toMatchObject({ kind: "partial", cause: "stalled", reason: "Nothing came for 45 s." });
    expect(dialogue.asked.wasLeft).toBe(true);
    expect(dialogue.world.clock.timerCount).toBe(0);
  });

  test.each([
    ["no JSON", "event: content_block_delta\ndata: {\n\n", "no JSON object"],
    ["out of order", openText(5), "out of turn"],
  ])("by an event that is %s", async (_, event, reason) => {
    const dialogue = await opened(start(), openText(), text("Half") + event);
    expect(dialogue.ending).toMatchObject({
      kind: "partial",
      cause: "malformed",
      message: { content: [{ text: "Half" }] },
    });
    expect(dialogue.ending).toHaveProperty("reason", expect.stringContaining(reason));
  });

  test("with a tool call alone cannot be continued", async () => {
    const dialogue = await opened(start(), openTool(), input('{"a":'));
    await dialogue.asked.close();
    expect(dialogue.ending).toMatchObject({ kind: "partial", unfinished: [0], canContinue: false });
  });
});

describe("refused", () => {
  test("by an error of the API", async () => {
    const { world, ...dialogue } = await begun();
    await world.request(0).refuse(400, ERROR_BODY, { "request-id": "req_1", "retry-after": "2" });
    expect(await dialogue.stream.ended).toMatchObject({
      kind: "refused",
      status: 400,
      type: "invalid_request_error",
      code: "bad",
      reason: "max_tokens: has to be there",
      requestId: "req_1",
      retryAfterS: 2,
      message: null,
      canContinue: false,
    });
    expect(world.asked).toHaveLength(1);
  });

  test.each([
    ["a page of a proxy", 404, "<html>Not here</html>", "<html>Not here</html>"],
    ["a long page of a proxy", 404, "x".repeat(9_000), "x".repeat(500)],
    ["nothing at all", 403, "", "The answer was an HTTP status 403."],
    ["a 200 that is no stream", 200, "Hello", "Hello"],
  ])("by %s", async (_, status, body, reason) => {
    const { world, stream } = await begun();
    await world.request(0).refuse(status, body);
    expect(await stream.ended).toMatchObject({ kind: "refused", status, type: null, reason, requestId: null });
  });

  test("by an error that calls itself a stream", async () => {
    const { world, stream } = await begun();
    await world.request(0).refuse(400, ERROR_BODY, { "content-type": "text/event-stream" });
    expect(await stream.ended).toMatchObject({ kind: "refused", status: 400, requestId: "req_body" });
  });
});
