// The page's side. Text of a model is set as text, never as HTML, and drawn at most once a frame.

const turns = document.querySelector("#turns");
const form = document.querySelector("#ask");
const prompt = document.querySelector("#prompt");
const transport = document.querySelector("#transport");
const send = document.querySelector("#send");
const stop = document.querySelector("#stop");
const status = document.querySelector("#status");

const messages = [];

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = prompt.value.trim();
  if (!asked || send.disabled) return;
  prompt.value = "";
  send.disabled = true;
  stop.disabled = false;
  status.textContent = "";
  show("user").write(asked);
  messages.push({ role: "user", content: asked });
  const answer = show("assistant");
  const stopping = new AbortController();
  stop.onclick = () => stopping.abort();
  let why = "";
  try {
    const stream = transport.value === "fetch" ? byFetch : byEventSource;
    why = partial(await stream(messages, answer.write, stopping.signal));
  } catch (error) {
    why = stopping.signal.aborted ? "you stopped it" : error.message;
  }
  answer.end(why);
  // What was said so far is part of the conversation; a message may not be empty.
  if (answer.text().trim()) messages.push({ role: "assistant", content: answer.text() });
  else messages.pop();
  send.disabled = false;
  stop.disabled = true;
  status.textContent = why ? `Partial: ${why}` : "Done";
});

// One turn on the page: `write` adds text, drawn with the next frame.
function show(role) {
  const turn = document.createElement("p");
  turn.className = `turn ${role}`;
  turns.append(turn);
  let text = "";
  let waiting = 0;
  const draw = () => {
    waiting = 0;
    turn.textContent = text;
    turn.scrollIntoView({ block: "end" });
  };
  return {
    text: () => text,
    write: (more) => {
      text += more;
      waiting ||= requestAnimationFrame(draw);
    },
    end: (why) => {
      cancelAnimationFrame(waiting);
      draw();
      if (why) {
        turn.classList.add("partial");
        turn.dataset.why = why;
      }
    },
  };
}

function partial(end) {
  return end.stop_reason === "max_tokens" ? "it reached its limit of tokens" : "";
}

// POST /chat, read as it comes. Returns how it ended; throws when it broke off.
async function byFetch(conversation, write, signal) {
  const response = await fetch("chat", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: conversation }),
    signal,
  });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  let end = {};
  for await (const { event, data } of frames(response.body)) {
    if (data === "[DONE]") return end;
    if (event === "failure") throw new Error(reason(JSON.parse(data)));
    if (event === "end") end = JSON.parse(data);
    else write(JSON.parse(data));
  }
  throw new Error("the connection was cut");
}

// The events of a stream: name and data. The server writes one data line each, and lines end in line feeds.
async function* frames(body) {
  let waiting = "";
  for await (const chunk of chunks(body.pipeThrough(new TextDecoderStream()))) {
    const whole = (waiting + chunk).split("\n\n");
    waiting = whole.pop();
    for (const frame of whole) {
      const field = (name) => frame.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field("data") !== undefined) yield { event: field("event") ?? "message", data: field("data") };
    }
  }
}

// Safari iterates no streams yet.
async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } finally {
    await reader.cancel();
  }
}

// GET /chat, for what speaks EventSource alone: one question, without the conversation.
function byEventSource(conversation, write, signal) {
  const query = new URLSearchParams({ prompt: conversation.at(-1).content });
  const source = new EventSource(`chat?${query}`);
  let end = {};
  const ended = new Promise((resolve, reject) => {
    source.onmessage = ({ data }) => (data === "[DONE]" ? resolve(end) : write(JSON.parse(data)));
    source.addEventListener("end", ({ data }) => { end = JSON.parse(data); });
    source.addEventListener("failure", ({ data }) => reject(new Error(reason(JSON.parse(data)))));
    source.onerror = () => reject(new Error("the connection was cut"));
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  return ended.finally(() => source.close()); // else it would ask again
}

function reason({ cause, message }) {
  return `${message} (${cause})`;
}
