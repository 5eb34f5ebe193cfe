import { useState } from "preact/hooks";
import { currentConversation } from "../model/state.ts";
import { ModelName } from "./ModelName.tsx";
import { usePage, useSelected } from "./page.ts";

const OTHER = "\0other";

/** The models of the gateway, or any other by its name: routes that are patterns serve models that nobody lists. */
export function ModelPicker() {
  const { commands } = usePage();
  const models = useSelected((state) => state.models);
  const haveCome = useSelected((state) => state.modelsHaveCome);
  const problem = useSelected((state) => state.modelsProblem);
  const settings = useSelected((state) => currentConversation(state).settings);
  const [isTyping, setTyping] = useState(false);
  const choose = (model: string) => {
    setTyping(false);
    if (model !== "") commands.set({ ...settings, model });
  };
  if (!haveCome && problem !== null) {
    return (
      <span class="models-problem">
        {problem}{" "}
        <button type="button" class="link" onClick={() => void commands.loadModels()}>
          Try again
        </button>
      </span>
    );
  }
  if (isTyping || (haveCome && models.length === 0)) {
    return <ModelName model={isTyping ? "" : settings.model} isAsked={isTyping} onChoose={choose} />;
  }
  const isListed = models.some((model) => model.id === settings.model);
  return (
    <select
      class="model-picker"
      aria-label="Model"
      value={settings.model}
      onChange={({ currentTarget: { value } }) => (value === OTHER ? setTyping(true) : choose(value))}
    >
      {!isListed && <option value={settings.model}>{settings.model === "" ? "…" : settings.model}</option>}
      {models.map((model) => (
        <option key={model.id} value={model.id}>
          {model.name}
        </option>
      ))}
      {haveCome && <option value={OTHER}>Another model …</option>}
    </select>
  );
}
