import { useMemo, useRef } from "preact/hooks";
import { type MarkdownBlock, NOTHING, split } from "../render/blocks.ts";
import { markdownHtml } from "../render/markdown.ts";
import { CodeBlock } from "./CodeBlock.tsx";
import { Html } from "./Html.tsx";

/** Markdown that may still grow: closed blocks are rendered once, only the open one again. */
export function Markdown({ source }: { source: string }) {
  const before = useRef(NOTHING);
  before.current = split(source, before.current);
  return (
    <div class="markdown" dir="auto">
      {before.current.blocks.map((block, place) => (
        // Blocks never change their places.
        <Block key={place} block={block} />
      ))}
    </div>
  );
}

function Block({ block }: { block: MarkdownBlock }) {
  // The same element again is not looked at again.
  return useMemo(
    () => (block.kind === "code" ? <CodeBlock {...block} /> : <MarkdownHtml source={block.source} />),
    [block],
  );
}

function MarkdownHtml({ source }: { source: string }) {
  const html = useMemo(() => markdownHtml(source), [source]);
  return <Html html={html} class="block" />;
}
