import type { Settings } from "../model/conversation.ts";
import { currentConversation } from "../model/state.ts";
import { Dialog } from "./Dialog.tsx";
import { usePage, useSelected } from "./page.ts";

const WARMEST = 1;
const USUAL = 0.7;

/** System prompt, length and temperature of the conversation. Each change counts at once, for what is asked next. */
export function SettingsDialog() {
  const { store, commands } = usePage();
  const settings = useSelected((state) => currentConversation(state).settings);
  const set = (change: Partial<Settings>) => commands.set({ ...settings, ...change });
  const setMaxTokens = (value: number) => {
    if (Number.isInteger(value) && value >= 1) set({ maxTokens: value });
  };
  return (
    <Dialog title="Settings" onClose={() => store.dispatch({ type: "dialog", dialog: null })}>
      <label class="field">
        <span>System prompt</span>
        <textarea
          rows={5}
          placeholder="You are a helpful assistant …"
          value={settings.system}
          dir="auto"
          onInput={(event) => set({ system: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Max tokens</span>
        <input
          type="number"
          min={1}
          step={1}
          value={settings.maxTokens}
          onInput={(event) => setMaxTokens(event.currentTarget.valueAsNumber)}
        />
      </label>
      <div class="field">
        <label class="check">
          <input
            type="checkbox"
            checked={settings.temperature !== null}
            onChange={(event) => set({ temperature: event.currentTarget.checked ? USUAL : null })}
          />
          <span>Set the temperature</span>
        </label>
        {settings.temperature !== null && (
          <div class="slider">
            <input
              type="range"
              aria-label="Temperature"
              min={0}
              max={WARMEST}
              step={0.05}
              value={settings.temperature}
              onInput={(event) => set({ temperature: event.currentTarget.valueAsNumber })}
            />
            <output>{settings.temperature.toFixed(2)}</output>
          </div>
        )}
        <p class="hint">
          Sent under version 2023-06-01 of the API; newer models choose it themselves, and want it left out.
        </p>
      </div>
    </Dialog>
  );
}
