// Reads one answer with the stream client, as a page does, and prints how it ended and what was seen on the way.
//   node read_stream.mjs URL '{"model": ..., "stop": "text" | "connecting" | null}'
import { continued, openStream } from "../../src/ezai/web/stream/index.ts";

const [url, plan] = process.argv.slice(2);
const { model, stop = null, maxRetries = 0, again = false } = JSON.parse(plan);

const batches = [];
const phases = [];

function ask(request) {
  const stream = openStream({
    request,
    baseUrl: url,
    maxRetries,
    onPhase: (phase) => {
      phases.push(phase.name);
      if (stop === phase.name) stream.stop();
    },
    onBatch: ({ changes }) => {
      batches.push(changes.map(({ added }) => added).join(""));
      if (stop === "text" && changes.some(({ added }) => added !== "")) stream.stop();
    },
  });
  return stream.ended;
}

const request = { model, max_tokens: 1000, messages: [{ role: "user", content: "Hi" }] };
let ending = await ask(request);
if (again && ending.canContinue) ending = await ask(continued(request, ending));
console.log(JSON.stringify({ ending, batches, phases }));
