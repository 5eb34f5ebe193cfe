// A chat in the browser, with a server of yours between the page and EzAI: Express and the official SDK.
//
// POST /chat streams the answer to `fetch`, GET /chat?prompt=... to `EventSource`; docs/web-apps.md explains the
// pattern.
import { once } from "node:events";
import Anthropic, { APIError } from "@anthropic-ai/sdk";
import express from "express";

const MODEL = process.env.EZAI_MODEL ?? "claude-sonnet-5-5";
const MAX_TOKENS = 4096;

const client = new Anthropic({
  baseURL: process.env.EZAI_URL ?? "http://127.0.0.1:8080",
  apiKey: process.env.EZAI_API_KEY || "any", // a gateway without keys takes any
});

const app = express();
app.use(express.static(new URL("page", import.meta.url).pathname));

// Other people's pages may not spend your tokens in a visitor's browser.
app.use("/chat", (request, response, next) => {
  const site = request.get("sec-fetch-site") ?? "same-origin";
  if (site === "same-origin" || site === "none") next();
  else response.status(403).json({ detail: "This is for the page of this server." });
});

// For `fetch`: a conversation.
app.post("/chat", express.json({ limit: "4mb" }), async (request, response) => {
  const messages = request.body?.messages;
  if (!Array.isArray(messages) || !messages.length || !messages.every(isMessage)) {
    response.status(422).json({ detail: "messages: a list of { role, content } is needed." });
    return;
  }
  await answer(messages.map(({ role, content }) => ({ role, content })), response);
});

// For `EventSource`: one question. It connects again by itself when it is cut off; that is not asked twice.
app.get("/chat", async (request, response) => {
  const { prompt } = request.query;
  if (request.get("last-event-id")) response.status(204).end(); // makes it give up
  else if (typeof prompt !== "string" || !prompt) response.status(422).json({ detail: "prompt: is needed." });
  else await answer([{ role: "user", content: prompt }], response);
});

function isMessage(message) {
  return ["user", "assistant"].includes(message?.role) && typeof message.content === "string" && message.content;
}

// Send one answer: text, how it ended, [DONE]; or, where it broke off, a failure as the last frame.
async function answer(messages, response) {
  const leaving = new AbortController(); // aborting ends the SDK's stream, and with it the upstream
  response.on("close", () => leaving.abort());
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
  });
  response.flushHeaders();
  try {
    const end = await relay(messages, response, leaving.signal);
    response.write(frame(end, "end"));
    response.end("data: [DONE]\n\n");
  } catch (error) {
    if (!leaving.signal.aborted) response.end(failure(error));
  }
}

// The text as it comes, no faster than the browser reads. Returns how the model ended it.
async function relay(messages, response, signal) {
  const asked = { model: MODEL, max_tokens: MAX_TOKENS, messages, stream: true };
  const end = { stop_reason: null, usage: {} };
  for await (const event of await client.messages.create(asked, { signal })) {
    if (event.type === "message_start") end.usage = event.message.usage;
    if (event.type === "message_delta") {
      end.stop_reason = event.delta.stop_reason;
      Object.assign(end.usage, event.usage);
    }
    if (event.type === "content_block_delta" && event.delta.type === "text_delta") {
      if (!response.write(frame(event.delta.text))) await once(response, "drain", { signal });
    }
    if (event.type === "message_stop") return end;
  }
  throw new Error("The answer was cut."); // the SDK takes a stream that just ends for a whole one
}

// One event. JSON keeps newlines in the text from being read as the frame's own.
function frame(value, event) {
  return `${event ? `event: ${event}\n` : ""}id: 1\ndata: ${JSON.stringify(value)}\n\n`;
}

// Why it broke off. EzAI says the cause of a broken stream in `error.details.error_code`.
function failure(error) {
  const told = error instanceof APIError ? error.error?.error : undefined;
  const cause = told?.details?.error_code ?? told?.type ?? error.constructor.name;
  return frame({ cause, message: told?.message ?? error.message }, "failure");
}

const port = Number(process.env.PORT ?? 3000);
app.listen(port, "127.0.0.1", function listening(error) {
  if (error) throw error;
  console.log(`Chat is at http://127.0.0.1:${this.address().port}`);
});
