/** The one place of the page's state. */

import { type Action, type PageState, reduce } from "./state.ts";

export interface Store {
  state(): PageState;
  /** Changes the state and tells everyone who listens, before it returns. */
  dispatch(action: Action): void;
  /** Calls back after each change, until the function that it returns is called. */
  subscribe(listener: () => void): () => void;
}

export function createStore(initial: PageState): Store {
  let state = initial;
  const listeners = new Set<() => void>();
  return {
    state: () => state,
    dispatch(action) {
      state = reduce(state, action);
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
