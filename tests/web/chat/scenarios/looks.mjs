// What the page looks like to those who do not see it, and on a small screen.
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";

const require = createRequire(new URL("../../../../src/ezai/web/package.json", import.meta.url));
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf-8");

/** The findings of axe-core in each state of the page. */
export async function findings(page, { width }) {
  const found = {};
  const look = async (name) => {
    // Evaluated by the debugger, which the page's policy does not bind.
    await page.tab.evaluate(axe);
    const { violations } = await page.tab.evaluate(() => window.axe.run());
    found[name] = violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  };
  await page.ready();
  await look("empty");
  await page.ask("Hi");
  await page.answered();
  for (const folded of await page.tab.locator(".folded:not([open]) > summary").all()) await folded.click();
  await look("answered");
  for (const name of ["View code", "Settings"]) {
    await page.button(name);
    await look(name);
    await page.tab.keyboard.press("Escape");
  }
  if (width < 700) {
    await page.button("Show the conversations");
    await page.tab.locator(".sidebar.is-open").waitFor();
    await look("list");
    await page.tab.keyboard.press("Escape");
  }
  await page.tab.locator(".question").first().hover();
  await page.tab.getByRole("button", { name: "Edit and ask again" }).first().click();
  await look("editing");
  await page.tab.keyboard.press("Escape");
  await page.tab.locator("select.model-picker").selectOption({ label: "Another model …" });
  await look("another model");
  const overflow = await page.tab.evaluate(() =>
    Math.max(...["html", ".head", ".column"].map((name) => {
      const one = document.querySelector(name);
      return one.scrollWidth - one.clientWidth;
    })),
  );
  return { found, overflow };
}
