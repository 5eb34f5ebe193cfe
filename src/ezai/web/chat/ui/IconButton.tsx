import { Icon, type IconName } from "./icons.tsx";

interface Props {
  icon: IconName;
  /** What it does: read aloud, and shown when the pointer rests on it. */
  label: string;
  onClick: () => void;
  disabled?: boolean;
  class?: string;
}

/** A button that is an icon. */
export function IconButton({ icon, label, onClick, disabled = false, class: more = "" }: Props) {
  return (
    <button
      type="button"
      class={`icon-button ${more}`}
      aria-label={label}
      title={label}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
