/**
 * ezai-stream: reads streams of the Messages API, hands them out frame by frame, and tells how each one ended.
 *
 * messages       PURE  the API's own values, as far as a reader looks at them
 * json, errors   PURE  JSON that may be none; what the API says when it says no
 * wire           PURE  text → events
 * fold           PURE  events → the growing message
 * changes        PURE  two looks at an answer → what is new
 * progress       PURE  tokens, time to the first one, tokens per second
 * endings        PURE  how a stream ended
 * continuation   PURE  asking for the rest of a partial answer
 * requests       PURE  what is sent: for an answer, to resume it, to stop it
 * retry          PURE  whether and when to ask again
 * world          EDGE  clock, frames, fetch, chance
 * batching       EDGE  at most one call per frame
 * exchange       EDGE  one HTTP exchange, from the request to its last byte
 * reading        EDGE  what has been read of an answer, over all its connections
 * session        EDGE  exchanges in a row, until the answer has its ending
 * client         EDGE  `openStream`
 */

export type { BlockChange } from "./changes.ts";
export { type Batch, openStream, type RunningStream, type StreamOptions } from "./client.ts";
export { type AnswerSoFar, continued, joined, kept } from "./continuation.ts";
export type { Ending, PartialAnswer, Refused, Stopped, StreamError, Unreachable, WholeAnswer } from "./endings.ts";
export {
  type Block,
  isText,
  isThinking,
  isToolUse,
  type Message,
  type MessagesRequest,
  type TextBlock,
  type ThinkingBlock,
  type ToolUseBlock,
  type Turn,
  type Usage,
} from "./messages.ts";
export type { Progress } from "./progress.ts";
export type { Phase } from "./session.ts";
export { type Clock, nextFrame, type Schedule, type World } from "./world.ts";
