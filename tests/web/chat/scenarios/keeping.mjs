// What is kept in the browser, and what is not.

/** A reload in the middle of an answer, and after its end. */
export async function reload(page) {
  await page.ask("Hi");
  await page.shows("20 21 22");
  const shown = await page.text();
  await page.tab.reload();
  await page.shows("20 21 22");
  const again = { text: await page.text(), ending: await page.ending() };
  const buttons = await page.tab.locator(".ending button").allInnerTexts();
  return { shown, ...again, buttons };
}

/** Two conversations, switched, one removed, and the rest after a reload. */
export async function conversations(page) {
  await page.ask("First question");
  await page.answered();
  await page.button("New chat");
  await page.ask("Second question");
  await page.answered();
  await page.tab.getByRole("button", { name: "First question", exact: true }).click();
  await page.tab.locator(".question-text", { hasText: "First question" }).waitFor();
  const before = await page.tab.locator(".conversation").allInnerTexts();
  await page.tab.locator(".conversations li", { hasText: "Second question" }).hover();
  await page.tab.getByRole("button", { name: "Delete “Second question”" }).click();
  await page.tab.waitForFunction(() => document.querySelectorAll(".conversation").length === 1);
  await page.tab.reload();
  await page.tab.locator(".conversation").first().waitFor();
  return {
    before,
    after: await page.tab.locator(".conversation").allInnerTexts(),
    questions: await page.tab.locator(".question-text").allInnerTexts(),
    dialogs: page.seen.dialogs.splice(0),
  };
}

/** An answer that goes on while another conversation is looked at. */
export async function inTheBackground(page, { mock }) {
  await page.ask("First question");
  await page.shows("0 1 2");
  await page.button("New chat");
  await page.tab.getByRole("heading", { level: 1 }).waitFor();
  await fetch(`${mock}/mock/release`, { method: "POST" });
  await page.tab.locator(".pulse").waitFor({ state: "detached" });
  await page.tab.getByRole("button", { name: "First question", exact: true }).click();
  await page.tab.locator(".question-text").waitFor();
  return { text: await page.text(), ending: await page.ending() };
}

/** The key: asked for when it is wanted, used, kept over a reload of the tab, and in no other. */
export async function key(page, { wrong, right }) {
  const dialog = page.tab.getByRole("dialog");
  await dialog.waitFor();
  const title = await dialog.getByRole("heading").innerText();
  const give = async (value) => {
    await dialog.getByLabel("Key").fill(value);
    await page.tab.keyboard.press("Enter");
  };
  await give(wrong);
  await dialog.getByText("not accepted").waitFor();
  await give(right);
  await dialog.waitFor({ state: "detached" });
  await page.ask("Hi");
  await page.answered();
  const text = await page.text();
  await page.tab.reload();
  await page.ready();
  const asksAgain = await dialog.count();
  await page.button("View code");
  const code = await dialog.locator("code").first().innerText();
  const stores = await page.tab.evaluate(async () => {
    const database = await new Promise((resolve) => {
      const request = indexedDB.open("ezai-chat");
      request.onsuccess = () => resolve(request.result);
    });
    const all = [...database.objectStoreNames].map(
      (name) =>
        new Promise((resolve) => {
          const request = database.transaction(name).objectStore(name).getAll();
          request.onsuccess = () => resolve(request.result);
        }),
    );
    return JSON.stringify([await Promise.all(all), { ...localStorage }, document.cookie]);
  });
  const other = await page.context.newPage();
  await other.goto(page.url);
  await other.getByRole("dialog").waitFor();
  return { title, text, asksAgain, isInCode: code.includes(right), isStored: stores.includes(right), code };
}
