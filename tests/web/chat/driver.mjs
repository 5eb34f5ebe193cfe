// A browser for the tests of the chat page: one line of JSON in, one scenario played in a tab of its own, one line out.
//   {"scenario": "answers.streams", "url": ..., "options": {...}}  →  {"told": ..., "seen": {...}} or {"failed": ...}
// `seen` is what no scenario may cause: dialogs, violations of the page's policy, errors, requests to other origins.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Page } from "./page.mjs";
import * as answers from "./scenarios/answers.mjs";
import * as attacks from "./scenarios/attacks.mjs";
import * as figures from "./scenarios/figures.mjs";
import * as keeping from "./scenarios/keeping.mjs";
import * as looks from "./scenarios/looks.mjs";
import * as requests from "./scenarios/requests.mjs";

const require = createRequire(new URL("../../../src/ezai/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const { default: packed } = require("@sparticuz/chromium");
const scenarios = { answers, attacks, figures, keeping, looks, requests };

const browser = await chromium.launch({
  executablePath: await packed.executablePath(),
  // Not the package's own list: that turns off the web's security, which is what is tested here.
  args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});

async function play({ scenario, url, options = {} }) {
  const [module, name] = scenario.split(".");
  const page = await Page.create(browser, url, options);
  try {
    await page.load();
    return { told: await scenarios[module][name](page, options), seen: page.seen };
  } catch (error) {
    return { failed: `${error.stack ?? error}\n${await page.describe()}`, seen: page.seen };
  } finally {
    await page.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
}
await browser.close();
