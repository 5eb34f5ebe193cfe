import { continued, isText, openStream } from "ezai-stream";

const show = (id: string, text: string) => document.getElementById(id)?.append(text);
const request = { model: "smollm2-135m", max_tokens: 500, messages: [{ role: "user" as const, content: "Hello!" }] };

const stream = openStream({
  request,
  onBatch: ({ changes }) => {
    for (const { block, added } of changes) if (isText(block)) show("answer", added);
  },
});
document.getElementById("stop")?.addEventListener("click", stream.stop);

const ending = await stream.ended;
if (ending.kind === "stopped") show("status", "Stopped.");
else if (ending.kind !== "whole") show("status", ending.reason);
export const nextRequest = ending.canContinue ? continued(request, ending) : null;
