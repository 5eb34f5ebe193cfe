import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { TrustedHTML } from "trusted-types/lib";

interface Props {
  html: TrustedHTML;
  class?: string;
  as?: "div" | "span";
}

/** Shows sanitised HTML. The one place of the page where HTML goes in, and it takes no strings. */
export function Html({ html, class: name = "", as: Tag = "div" }: Props): JSX.Element {
  const element = useRef<HTMLDivElement & HTMLSpanElement>(null);
  useLayoutEffect(() => {
    // The DOM's types know of no TrustedHTML here.
    if (element.current !== null) element.current.innerHTML = html as unknown as string;
  }, [html]);
  return <Tag ref={element} class={name} />;
}
