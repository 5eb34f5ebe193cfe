import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

function file(name: string): string {
  return readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
}

test("the example of the README is the one whose types are checked", () => {
  expect(file("README.md")).toContain(`\`\`\`ts\n${file("example.ts")}\`\`\``);
});
