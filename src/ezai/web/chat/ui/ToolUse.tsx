import type { Block } from "ezai-stream";
import { CodeBlock } from "./CodeBlock.tsx";
import { Icon } from "./icons.tsx";

/** A call of a tool: its name, and its input as far as it came. */
export function ToolUse({ block, isOpen, inputJson }: { block: Block; isOpen: boolean; inputJson: string }) {
  const name = String(block["name"] ?? "");
  return (
    <details class="folded tool" open>
      <summary>
        <Icon name="chevron" />
        <Icon name="tool" />
        <span class={isOpen ? "shimmer" : ""}>
          {isOpen ? "Calling" : "Called"} <code>{name}</code>
        </span>
      </summary>
      <CodeBlock language="json" source={shownInput(block["input"], inputJson, isOpen)} isClosed={!isOpen} />
    </details>
  );
}

/** Whole input is set out; of what is not whole, the text as it came. */
function shownInput(input: unknown, inputJson: string, isOpen: boolean): string {
  const isWhole = !isOpen && (inputJson === "" || Object.keys(input ?? {}).length > 0);
  return isWhole ? JSON.stringify(input, null, 2) : inputJson;
}
