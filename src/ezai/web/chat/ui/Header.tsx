import { currentConversation } from "../model/state.ts";
import { ExportMenu } from "./ExportMenu.tsx";
import { IconButton } from "./IconButton.tsx";
import { ModelPicker } from "./ModelPicker.tsx";
import { usePage, useSelected } from "./page.ts";

/** The model, and what can be done with the conversation as a whole. */
export function Header() {
  const { store } = usePage();
  const hasBegun = useSelected((state) => currentConversation(state).exchanges.length > 0);
  return (
    <header class="head">
      <IconButton
        class="only-narrow"
        icon="menu"
        label="Show the conversations"
        onClick={() => store.dispatch({ type: "list", isOpen: true })}
      />
      <ModelPicker />
      <span class="spacer" />
      {hasBegun && <ExportMenu />}
      <IconButton icon="code" label="View code" onClick={() => store.dispatch({ type: "dialog", dialog: "code" })} />
      <IconButton
        icon="sliders"
        label="Settings"
        onClick={() => store.dispatch({ type: "dialog", dialog: "settings" })}
      />
    </header>
  );
}
