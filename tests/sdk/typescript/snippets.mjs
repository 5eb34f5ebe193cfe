// What a user writes with the TypeScript SDK; only `baseURL` is not what it would be for the hosted API.
//
//     node main.mjs snippets BASE_URL     every call once; prints one JSON object
//     node main.mjs keyed BASE_URL        ANTHROPIC_API_KEY, and a wrong key; prints one JSON object
//     node main.mjs broken BASE_URL       a long stream; prints a line at its first text, then its end
//     node main.mjs asked BASE_URL        the requests of $ASKED, a JSON object of them; prints one JSON object
//
// Runs from the folder of a version, whose main.mjs hands over the SDK.

import { readFile } from "node:fs/promises";

const apiKey = "sk-your-key";
const model = "claude-sonnet-5-5";
const max_tokens = 16;
const messages = [{ role: "user", content: "Explain streaming in 3 sentences." }];
const counting = [{ role: "user", content: "Write the numbers from 1 to 5000, separated by commas." }];

async function stream(client) {
  const said = { texts: [], blocks: [], messages: [], errors: [] };
  const opened = client.messages
    .stream({ model, max_tokens, messages })
    .on("text", (text) => said.texts.push(text))
    .on("contentBlock", (block) => said.blocks.push(block))
    .on("message", (message) => said.messages.push(message))
    .on("error", (error) => said.errors.push(String(error)));
  said.final = await opened.finalMessage();
  said.request_id = opened.request_id;
  return said;
}

async function events(client) {
  const opened = await client.messages.create({ model, max_tokens, messages, stream: true });
  const seen = [];
  for await (const event of opened) seen.push(event);
  return seen;
}

async function unary(client) {
  const final = await client.messages.create({ model, max_tokens, messages });
  return { final, request_id: final._request_id };
}

// The error of a refused call: `on("error")` is told the same as the awaiting caller.
async function streamRefusal(client) {
  const heard = [];
  const opened = client.messages.stream({ model, max_tokens: -1, messages }).on("error", (error) => heard.push(error));
  const raised = await refusal(opened.finalMessage());
  return { ...raised, heard: heard.map(told) };
}

async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return told(error);
  }
  throw new Error("the call was not refused");
}

function told(error) {
  return {
    class: error.constructor.name,
    status: error.status ?? null,
    request_id: error.requestID ?? null,
    body: error.error ?? null,
  };
}

async function ids(page) {
  const found = [];
  for await (const listed of page) found.push(listed.id);
  return found;
}

async function snippets(Anthropic, baseURL) {
  const client = new Anthropic({ baseURL, apiKey });
  const models = await ids(client.models.list());
  const packageFile = await readFile("node_modules/@anthropic-ai/sdk/package.json", "utf8");
  return {
    version: JSON.parse(packageFile).version,
    stream: await stream(client),
    events: await events(client),
    unary: await unary(client),
    count: (await client.messages.countTokens({ model, messages })).input_tokens,
    models,
    model: await client.models.retrieve(models[0]),
    errors: {
      unknown_path: await refusal(client.get("/v1/nowhere")),
      unknown_model: await refusal(client.models.retrieve("no-such-model")),
      bad_request: await refusal(client.messages.create({ model, max_tokens: -1, messages })),
      bad_stream_request: await streamRefusal(client),
    },
  };
}

async function keyed(Anthropic, baseURL) {
  const right = await new Anthropic({ baseURL }).messages.create({ model, max_tokens: 1, messages });
  const stranger = new Anthropic({ baseURL, apiKey: "sk-wrong" });
  const wrong = await refusal(stranger.messages.create({ model, max_tokens: 1, messages }));
  return { right, wrong };
}

async function broken(Anthropic, baseURL) {
  const client = new Anthropic({ baseURL, apiKey });
  const texts = [];
  const heard = [];
  const opened = client.messages
    .stream({ model, max_tokens: 4000, messages: counting, temperature: 0 })
    .on("text", (text) => {
      if (texts.length === 0) console.log("first text");
      texts.push(text);
    })
    .on("error", (error) => heard.push(error));
  const error = await refusal(opened.finalMessage());
  return { texts, error: { ...error, heard: heard.map(told) } };
}

// Each request streamed and unary, and counted: the messages, what the stream said on the way, or the errors.
async function asked(Anthropic, baseURL) {
  const client = new Anthropic({ baseURL, apiKey, maxRetries: 0 });
  const outcome = {};
  for (const [name, request] of Object.entries(JSON.parse(process.env.ASKED))) {
    outcome[name] = await bothWays(client, request);
  }
  return outcome;
}

async function bothWays(client, request) {
  const said = { text: [], input_json: [], thinking: [] };
  let streamed;
  try {
    const opened = client.messages
      .stream(request)
      .on("text", (text) => said.text.push(text))
      .on("inputJson", (json) => said.input_json.push(json))
      .on("thinking", (thinking) => said.thinking.push(thinking));
    streamed = await opened.finalMessage();
  } catch (error) {
    return { error: told(error), unary_error: await refusal(client.messages.create(request)), ...said };
  }
  const unary = await client.messages.create(request);
  const { max_tokens, stop_sequences, metadata, ...prompt } = request;
  return { streamed, unary, counted: (await client.messages.countTokens(prompt)).input_tokens, ...said };
}

export async function run(Anthropic, call, baseURL) {
  const calls = { snippets, keyed, broken, asked };
  console.log(JSON.stringify(await calls[call](Anthropic, baseURL)));
}
