import { useLayoutEffect, useRef } from "preact/hooks";
import { focusComposer } from "./focus.ts";

interface Props {
  model: string;
  /** Whether the user has just asked for it, and so wants to write. */
  isAsked: boolean;
  /** Told the name when it is done; empty where there is none. */
  onChoose: (model: string) => void;
}

/** The name of a model, written by hand. */
export function ModelName({ model, isAsked, onChoose }: Props) {
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (isAsked) input.current?.focus();
  }, [isAsked]);
  return (
    <input
      ref={input}
      class="model-picker is-written"
      aria-label="Model"
      placeholder="Model, such as claude-sonnet-5-5"
      spellcheck={false}
      autocomplete="off"
      defaultValue={model}
      onBlur={(event) => onChoose(event.currentTarget.value.trim())}
      onKeyDown={(event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        focusComposer();
      }}
    />
  );
}
