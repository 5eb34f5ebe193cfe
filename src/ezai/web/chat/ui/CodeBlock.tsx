import { useMemo } from "preact/hooks";
import { chunks } from "../render/chunks.ts";
import { MAX_CHARACTERS } from "../render/highlight.ts";
import { codeHtml } from "../render/markdown.ts";
import { CopyButton } from "./CopyButton.tsx";
import { Html } from "./Html.tsx";

const MAX_COLOURED_CHARACTERS = 200_000;

interface Props {
  language: string;
  source: string;
  isClosed: boolean;
}

/** A block of code with its language and a button that copies it.
 *
 * Long code is coloured piece by piece, so that only the last piece is rendered again; very long code is not coloured.
 */
export function CodeBlock({ language, source, isClosed }: Props) {
  const pieces = isClosed && source.length <= MAX_CHARACTERS ? [source] : chunks(source);
  return (
    <figure class="code-block">
      <figcaption>
        <span>{language === "" ? "text" : language}</span>
        <CopyButton text={() => source} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by the keyboard */}
      <pre tabIndex={0}>
        <code>
          {pieces.map((piece, place) => (
            <Piece key={place} language={source.length > MAX_COLOURED_CHARACTERS ? "" : language} code={piece} />
          ))}
        </code>
      </pre>
    </figure>
  );
}

function Piece({ language, code }: { language: string; code: string }) {
  const html = useMemo(() => codeHtml(code, language), [code, language]);
  return <Html as="span" html={html} class="piece" />;
}
