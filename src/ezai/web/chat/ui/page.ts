/** How components reach the state and the commands. */

import { createContext } from "preact";
import { useContext, useLayoutEffect, useReducer, useRef } from "preact/hooks";
import type { Commands } from "../edge/commands.ts";
import type { PageState } from "../model/state.ts";
import type { Store } from "../model/store.ts";

export interface Page {
  readonly store: Store;
  readonly commands: Commands;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error("Every component stands in a PageContext.");
  return page;
}

/** What `select` makes of the state. The component is rendered again when that is another value. */
export function useSelected<T>(select: (state: PageState) => T): T {
  const { store } = usePage();
  const [, renderAgain] = useReducer((count: number) => count + 1, 0);
  const selected = select(store.state());
  const latest = useRef({ select, selected });
  latest.current = { select, selected };
  useLayoutEffect(
    () =>
      store.subscribe(() => {
        const { select, selected } = latest.current;
        if (select(store.state()) !== selected) renderAgain(undefined);
      }),
    [store],
  );
  return selected;
}
