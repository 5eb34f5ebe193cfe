// The chat page in a tab, as a person uses it.

const WAIT_MS = 20_000;

export class Page {
  static async create(browser, url, { width = 1280, height = 860, colorScheme = "light" } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, acceptDownloads: true });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
    context.setDefaultTimeout(WAIT_MS);
    const page = new Page(context, await context.newPage(), url);
    await page.#watch();
    return page;
  }

  constructor(context, tab, url) {
    this.context = context;
    this.tab = tab;
    this.url = url;
    this.seen = { dialogs: [], violations: [], errors: [], foreign: [], popups: [] };
  }

  async #watch() {
    const { tab, seen } = this;
    tab.on("dialog", (dialog) => {
      seen.dialogs.push(dialog.message());
      return dialog.accept();
    });
    tab.on("pageerror", (error) => seen.errors.push(String(error)));
    tab.on("popup", (popup) => seen.popups.push(popup.url()));
    this.context.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== new URL(this.url).origin && !["data:", "blob:"].includes(protocol)) seen.foreign.push(request.url());
    });
    await tab.exposeFunction("violated", (what) => seen.violations.push(what));
    await tab.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        window.violated(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
      });
    });
  }

  /** The same for another tab of this browser. */
  sibling(tab) {
    return new Page(this.context, tab, this.url);
  }

  async load() {
    await this.tab.goto(this.url);
    await this.tab.locator(".composer textarea").waitFor();
  }

  async ready() {
    await this.tab.locator('.model-picker option:not([value=""])').first().waitFor({ state: "attached" });
  }

  async ask(text) {
    await this.ready();
    await this.tab.locator(".composer textarea").fill(text);
    await this.tab.keyboard.press("Enter");
  }

  /** Returns when no answer is coming. */
  async answered() {
    await this.tab.getByRole("button", { name: "Send", exact: true }).waitFor();
  }

  async button(name) {
    await this.tab.getByRole("button", { name, exact: true }).click();
  }

  /** Returns when the last answer holds this text. */
  async shows(text) {
    await this.tab.locator(".answer .markdown", { hasText: text }).last().waitFor();
  }

  /** The words of the last answer, thinking and tools left out. */
  async text() {
    const texts = await this.tab.locator(".answer").last().locator(":scope > .markdown").allInnerTexts();
    return texts.join("\n\n");
  }

  async ending() {
    const note = this.tab.locator(".answer").last().locator(".ending");
    if ((await note.count()) === 0) return null;
    return { kind: await note.getAttribute("data-kind"), words: await note.locator(".ending-words").innerText() };
  }

  async status() {
    return this.tab.locator(".status").last().locator("span").allInnerTexts();
  }

  async announced() {
    return this.tab.locator('[role="status"]').innerText();
  }

  async describe() {
    return this.tab.locator("body").innerText().catch(() => "");
  }

  async close() {
    await this.context.close();
  }
}
