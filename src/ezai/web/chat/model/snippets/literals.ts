/** PURE: values as source code. */

/** How a language writes what JSON does not write for it. */
export interface Notation {
  readonly indent: string;
  readonly isTrue: string;
  readonly isFalse: string;
  readonly nothing: string;
  /** A name in front of its value inside an object. */
  readonly key: (name: string) => string;
  readonly trailingComma: boolean;
  /** Within the braces of an object on one line. */
  readonly padding: string;
}

export const PYTHON: Notation = {
  indent: "    ",
  isTrue: "True",
  isFalse: "False",
  nothing: "None",
  key: (name) => `${JSON.stringify(name)}: `,
  trailingComma: true,
  padding: "",
};

export const TYPESCRIPT: Notation = {
  indent: "  ",
  isTrue: "true",
  isFalse: "false",
  nothing: "null",
  key: (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? `${name}: ` : `${JSON.stringify(name)}: `),
  trailingComma: true,
  padding: " ",
};

export const JSON_TEXT: Notation = {
  ...TYPESCRIPT,
  key: (name) => `${JSON.stringify(name)}: `,
  trailingComma: false,
  padding: "",
};

const LINE_CHARACTERS = 80;

/** A JSON value as source code that begins on a line indented by `depth` steps. Short values stay on one line. */
export function literal(value: unknown, notation: Notation, depth: number): string {
  if (value === null || value === undefined) return notation.nothing;
  if (typeof value === "boolean") return value ? notation.isTrue : notation.isFalse;
  // A JSON string is one in Python and TypeScript too: neither has an escape that means something else.
  if (typeof value !== "object") return JSON.stringify(value);
  const [opening, closing] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const members = (step: number) =>
    Array.isArray(value)
      ? value.map((item) => literal(item, notation, step))
      : Object.entries(value).map(([name, item]) => notation.key(name) + literal(item, notation, step));
  const onOne = members(depth).join(", ");
  const padding = opening === "{" && onOne !== "" ? notation.padding : "";
  if (onOne.length <= LINE_CHARACTERS && !onOne.includes("\n")) return opening + padding + onOne + padding + closing;
  const margin = notation.indent.repeat(depth + 1);
  const last = notation.trailingComma ? "," : "";
  return `${opening}\n${margin}${members(depth + 1).join(`,\n${margin}`)}${last}\n${notation.indent.repeat(depth)}${closing}`;
}
