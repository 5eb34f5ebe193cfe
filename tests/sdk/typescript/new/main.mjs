// The SDK of this folder under the calls that all versions share.
import Anthropic from "@anthropic-ai/sdk";
import { run } from "../snippets.mjs";

await run(Anthropic, process.argv[2], process.argv[3]);
