/** A stream in a scripted world, and all that it told. */

import { type Batch, type Ending, openStream, type Phase, type RunningStream, type StreamOptions } from "../index.ts";
import { ScriptedWorld, settled } from "./scripted.ts";

export const REQUEST = { model: "small", max_tokens: 100, messages: [{ role: "user" as const, content: "Hi" }] };

/** What a test looks at. */
export interface Dialogue {
  readonly world: ScriptedWorld;
  readonly stream: RunningStream;
  readonly batches: Batch[];
  readonly phases: Phase[];
  /** The ending, once it is there. */
  ending: Ending | null;
}

export async function begun(options: Partial<StreamOptions> = {}): Promise<Dialogue> {
  const world = new ScriptedWorld();
  const batches: Batch[] = [];
  const phases: Phase[] = [];
  const stream = openStream({
    request: REQUEST,
    baseUrl: "http://gateway",
    world,
    onBatch: (batch) => batches.push(batch),
    onPhase: (phase) => phases.push(phase),
    ...options,
  });
  const dialogue: Dialogue = { world, stream, batches, phases, ending: null };
  void stream.ended.then((ending) => {
    dialogue.ending = ending;
  });
  await settled();
  return dialogue;
}

/** The text of the answer as it was handed out last. */
export function shownText({ batches }: Dialogue): string {
  return (batches.at(-1)?.message.content ?? []).map((block) => block["text"] ?? "").join("");
}

export function phaseNames({ phases }: Dialogue): string[] {
  return phases.map((phase) => phase.name);
}
