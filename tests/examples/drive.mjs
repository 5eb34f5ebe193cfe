// Drives a page of the examples in a real browser and prints what a reader has in the end, as JSON:
//   node drive.mjs URL '{"fields": {...}, "stopAt": "text"}'
// Modules are those of the web pages (MODULES names their folder).
import { createRequire } from "node:module";

const require = createRequire(`${process.env.MODULES}/`);
const { chromium } = require("playwright-core");
const packed = await import(require.resolve("@sparticuz/chromium"));
const packedChromium = packed.default?.default ?? packed.default;

const [url, steps] = process.argv.slice(2);
const { fields, stopAt } = JSON.parse(steps);

const browser = await chromium.launch({
  executablePath: await packedChromium.executablePath(),
  // Its own list would switch off what is tested here: --disable-web-security.
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-zygote", "--single-process"],
  headless: true,
});
try {
  const page = await browser.newPage();
  const complaints = [];
  const elsewhere = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => { complaints.push(dialog.message()); dialog.dismiss(); });
  page.on("request", (request) => elsewhere.push(new URL(request.url()).host));
  await page.goto(url);
  for (const [name, value] of Object.entries(fields)) {
    const field = page.locator(`#${name}`);
    if ((await field.evaluate((element) => element.localName)) === "select") await field.selectOption(value);
    else await field.fill(value);
  }
  await page.click("#send");
  const answer = page.locator(".turn.assistant").last();
  if (stopAt) {
    await answer.filter({ hasText: stopAt }).waitFor();
    await page.click("#stop");
  }
  await page.locator("#status", { hasText: /^(Done|Partial)/ }).waitFor();
  console.log(
    JSON.stringify({
      text: await answer.evaluate((element) => element.textContent),
      shown: await answer.evaluate((element) => element.innerText),
      elements: await answer.evaluate((element) => element.childElementCount),
      mark: await answer.evaluate((element) => getComputedStyle(element, "::after").content),
      status: await page.locator("#status").innerText(),
      canSendAgain: await page.locator("#send").isEnabled(),
      complaints,
      hosts: [...new Set(elsewhere)],
    }),
  );
} finally {
  await browser.close();
}
