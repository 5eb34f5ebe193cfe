import { IconButton } from "./IconButton.tsx";
import { usePage, useSelected } from "./page.ts";

/** One sentence that the user should know, until it is closed. */
export function Notice() {
  const { store } = usePage();
  const notice = useSelected((state) => state.notice);
  if (notice === null) return null;
  return (
    <p class="notice" role="alert">
      <span>{notice}</span>
      <IconButton icon="close" label="Close" onClick={() => store.dispatch({ type: "notice", notice: null })} />
    </p>
  );
}
