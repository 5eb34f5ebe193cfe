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
  await inDatabase(page, "Second question", false);
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
  const focused = await page.tab.evaluate(() => document.activeElement?.getAttribute("name"));
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
  return { title, focused, text, asksAgain, isInCode: code.includes(right), isStored: stores.includes(right), code };
}

/** Another tab of the same browser. */
async function otherTab(page) {
  const other = page.sibling(await page.context.newPage());
  await other.load();
  return other;
}

/** Returns when a conversation with these words is in the database; or, with `isThere` false, when none is. */
async function inDatabase(page, words, isThere = true) {
  await page.tab.evaluate(async ([words, isThere]) => {
    const result = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const database = await result(indexedDB.open("ezai-chat"));
    for (let all = null; all === null || JSON.stringify(all).includes(words) !== isThere; ) {
      all = await result(database.transaction("conversations").objectStore("conversations").getAll());
    }
    database.close();
  }, [words, isThere]);
}

/** Two tabs on one conversation: each shows what the other has added. */
export async function twoTabs(page) {
  await page.ask("First question");
  await page.answered();
  const other = await otherTab(page);
  await other.button("First question");
  await other.shows("0 1");
  await other.ask("Second question");
  await other.answered();
  await page.tab.locator(".question-text", { hasText: "Second question" }).waitFor();
  await page.ask("Third question");
  await page.answered();
  await other.tab.locator(".question-text", { hasText: "Third question" }).waitFor();
  const questions = await other.tab.locator(".question-text").allInnerTexts();
  await page.button("New chat");
  await page.tab.getByRole("button", { name: "Delete “First question”" }).click();
  await other.tab.locator(".conversation").waitFor({ state: "detached" });
  page.seen.dialogs.length = 0;
  return { questions };
}

/** A conversation that is looked at in another tab while its answer comes: looking changes nothing of it. */
export async function lookedAt(page, { mock }) {
  await page.ask("First question");
  await page.shows("0 1 2");
  await inDatabase(page, "0 1 2");
  const other = await otherTab(page);
  await other.button("First question");
  await other.shows("0 1 2");
  const looked = await other.ending();
  await fetch(`${mock}/mock/release`, { method: "POST" });
  await page.answered();
  await other.tab.locator(".answer .ending").waitFor({ state: "detached" });
  const followed = await other.text();
  await page.tab.reload();
  await page.shows("0 1 2");
  return { looked: looked.kind, followed, text: await page.text(), ending: await page.ending() };
}

/** A browser without room: the page says so, and keeps the conversation as soon as there is some. */
export async function noRoom(page) {
  await page.ask("First question");
  await page.answered();
  await page.tab.evaluate(() => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    IDBObjectStore.prototype.delete = new Proxy(IDBObjectStore.prototype.delete, {
      apply(target, store, values) {
        IDBObjectStore.prototype.put = put;
        return Reflect.apply(target, store, values);
      },
    });
    Storage.prototype.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  });
  await page.button("New chat");
  await page.ask("Second question");
  await page.answered();
  const notice = await page.tab.locator(".notice").innerText();
  await page.tab.getByRole("button", { name: "Delete “First question”" }).click();
  page.seen.dialogs.length = 0;
  await inDatabase(page, "Second question");
  await page.tab.reload();
  await page.tab.locator(".conversation").first().waitFor();
  return { notice, kept: await page.tab.locator(".conversation").allInnerTexts() };
}

/** A key that stops being accepted in the middle of a conversation: with another one the question is asked again. */
export async function keyThatIsGone(page, { right }) {
  const dialog = page.tab.getByRole("dialog");
  const give = async () => {
    await dialog.getByLabel("Key").fill(right);
    await page.tab.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
  };
  await give();
  await page.ready();
  await page.tab.evaluate(() => sessionStorage.setItem("ezai.key", "sk-revoked"));
  await page.ask("Hi");
  await dialog.getByText("not accepted").waitFor();
  const ending = await page.ending();
  await give();
  await page.shows("0 1");
  await page.answered();
  return { ending: ending.words, text: await page.text(), versions: await page.tab.locator(".versions").count() };
}

/** What a screen reader is told when the conversation is left while its answer comes. */
export async function left(page) {
  await page.ask("First question");
  await page.answered();
  await page.button("New chat");
  await page.ask("Second question");
  await page.shows("0 1");
  const before = await page.announced();
  await page.button("First question");
  await page.tab.locator(".question-text", { hasText: "First question" }).waitFor();
  const after = await page.announced();
  await page.button("Second question");
  await page.button("Stop");
  await page.answered();
  return { before, after };
}

/** What a page left behind when it went, older or newer than what is kept by now: which one is found. */
export async function leftBehind(page, { laterMs }) {
  await page.ask("First question");
  await page.answered();
  await inDatabase(page, '"kind":"whole"');
  await page.tab.evaluate(async (laterMs) => {
    const result = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const database = await result(indexedDB.open("ezai-chat"));
    const [kept] = await result(database.transaction("conversations").objectStore("conversations").getAll());
    const [exchange] = kept.exchanges;
    const left = { ...exchange, question: { ...exchange.question, text: "Left behind" } };
    const conversation = { ...kept, updatedAt: kept.updatedAt + laterMs, exchanges: [left] };
    localStorage.setItem("ezai.unwritten", JSON.stringify([conversation]));
    database.close();
  }, laterMs);
  await page.tab.reload();
  await page.shows("0 1");
  const isLeft = await page.tab.evaluate(() => localStorage.getItem("ezai.unwritten") !== null);
  return { question: await page.tab.locator(".question-text").innerText(), isLeft };
}
