// What the page sends.
import { readFile } from "node:fs/promises";

/** System prompt, length and temperature, and two turns. */
export async function settings(page, { system, maxTokens }) {
  await page.ready();
  await page.button("Settings");
  const dialog = page.tab.getByRole("dialog");
  await dialog.getByLabel("System prompt").fill(system);
  await dialog.getByLabel("Max tokens").fill(String(maxTokens));
  await dialog.getByLabel("Set the temperature").check();
  await page.tab.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await page.ask("One");
  await page.answered();
  await page.ask("Two");
  await page.answered();
}

export async function plain(page) {
  await page.ask("Hi");
  await page.answered();
}

/** A model that the gateway does not list: asked for by its name, first where it lists none, or beside those it does. */
export async function unlisted(page, { model }) {
  const { tab } = page;
  const picker = tab.getByLabel("Model");
  await picker.and(tab.locator("input, select:has(option:nth-child(2))")).waitFor();
  await tab.locator(".composer textarea").fill("Hi");
  const canSend = await tab.getByRole("button", { name: "Send", exact: true }).isEnabled();
  if (await tab.locator("select.model-picker").count()) await picker.selectOption({ label: "Another model …" });
  await tab.locator("input.model-picker").fill(model);
  await tab.keyboard.press("Enter");
  await tab.keyboard.press("Enter");
  await page.answered();
  return { canSend, text: await page.text(), status: await page.status() };
}

/** An image, chosen as a file; it is shown with the question. */
export async function image(page, { path }) {
  await page.ready();
  await page.tab.locator('input[type="file"]').setInputFiles(path);
  await page.tab.locator(".attached img").waitFor();
  await page.ask("What is this?");
  await page.answered();
  const shown = page.tab.locator(".question img");
  return { alt: await shown.getAttribute("alt"), width: await shown.evaluate((one) => one.naturalWidth) };
}

/** A file that is no image. */
export async function noImage(page, { path }) {
  await page.ready();
  await page.tab.locator('input[type="file"]').setInputFiles(path);
  return page.tab.locator(".notice").innerText();
}

/** Ask again, look at the answer before, edit the question. */
export async function again(page) {
  await page.ask("First");
  await page.answered();
  await page.button("Ask again");
  await page.answered();
  const versions = await page.tab.locator(".versions").innerText();
  await page.button("The answer before");
  const before = await page.tab.locator(".versions").innerText();
  await page.ask("Second");
  await page.answered();
  await page.tab.locator(".question").first().hover();
  await page.tab.getByRole("button", { name: "Edit and ask again" }).first().click();
  await page.tab.getByLabel("Your question").fill("First, but better");
  await page.tab.keyboard.press("Enter");
  await page.answered();
  return { versions, before, questions: await page.tab.locator(".question-text").allInnerTexts() };
}

/** The keyboard alone: where the focus goes, a new line, sending. */
export async function keyboard(page) {
  await page.ready();
  const { tab } = page;
  const focused = () => tab.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  const first = await focused();
  await tab.keyboard.type("one");
  await tab.keyboard.press("Shift+Enter");
  await tab.keyboard.type("two");
  const written = await tab.locator(".composer textarea").inputValue();
  const order = [];
  for (let step = 0; step < 2; step++) {
    await tab.keyboard.press("Tab");
    order.push(await focused());
  }
  await tab.locator(".composer textarea").focus();
  await tab.keyboard.press("Enter");
  await page.answered();
  return { first, written, order, after: await focused(), question: await tab.locator(".question-text").innerText() };
}

/** The conversation as files. */
export async function exports(page) {
  await page.ask("Hi");
  await page.answered();
  const files = {};
  for (const name of ["Markdown", "JSON"]) {
    await page.tab.locator(".menu > summary").click();
    const [download] = await Promise.all([page.tab.waitForEvent("download"), page.button(name)]);
    files[name] = { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf-8") };
  }
  return files;
}

/** The request in each language of View code. */
export async function code(page, { path }) {
  await page.ready();
  await page.button("Settings");
  await page.tab.getByLabel("System prompt").fill('Answer "in" \\one\\ \'line\'\n$HOME `date` ${x}');
  await page.tab.getByLabel("Set the temperature").check();
  await page.tab.keyboard.press("Escape");
  await page.tab.locator('input[type="file"]').setInputFiles(path);
  await page.tab.locator(".attached img").waitFor();
  await page.ask("Grüße, 'you'\nJSON\n\\n \u2028 😀");
  await page.answered();
  await page.button("View code");
  const snippets = {};
  for (const name of ["curl", "Python", "Python, async", "TypeScript"]) {
    await page.tab.getByRole("radio", { name, exact: true }).check();
    await page.tab.getByRole("dialog").getByRole("button", { name: "Copy code" }).click();
    await page.tab.getByRole("button", { name: "Copied" }).waitFor();
    snippets[name] = {
      shown: await page.tab.getByRole("dialog").locator("pre").evaluate((one) => one.textContent),
      copied: await page.tab.evaluate(() => navigator.clipboard.readText()),
    };
  }
  return snippets;
}
