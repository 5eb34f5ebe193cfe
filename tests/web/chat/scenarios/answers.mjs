// Answers as they come and as they end.

/** An answer that pauses before its first word, and goes on when the mock is told to. */
export async function streams(page, { mock }) {
  await page.ask("Hi");
  await page.tab.locator(".typing").waitFor();
  await fetch(`${mock}/mock/release`, { method: "POST" });
  await page.answered();
  return {
    text: await page.text(),
    status: await page.status(),
    ending: await page.ending(),
    announced: await page.announced(),
    indicators: await page.tab.locator(".typing").count(),
    title: await page.tab.locator(".conversations .is-current").innerText(),
  };
}

/** Stop, by the button or by Escape, in the middle of an endless answer. */
export async function stop(page, { by }) {
  await page.ask("Hi");
  await page.shows("20 21 22");
  const before = await page.text();
  if (by === "button") await page.button("Stop");
  else await page.tab.keyboard.press("Escape");
  await page.answered();
  return { before, text: await page.text(), ending: await page.ending(), announced: await page.announced() };
}

/** What the blocks of an answer look like: thinking, text, tools. */
export async function blocks(page) {
  await page.ask("Hi");
  await page.answered();
  const thinking = page.tab.locator(".thinking");
  const isFolded = (await thinking.getAttribute("open")) === null;
  await thinking.locator("summary").click();
  return {
    order: await page.tab.locator(".answer > *").evaluateAll((all) => all.map((one) => one.className)),
    isFolded,
    thinking: await thinking.locator(".markdown").innerText(),
    text: await page.text(),
    tools: await page.tab.locator(".tool summary").allInnerTexts(),
    inputs: await page.tab.locator(".tool pre").allInnerTexts(),
    ending: await page.ending(),
  };
}

/** An answer that fails in the middle, and what Continue makes of it. */
export async function breaks(page) {
  await page.ask("Hi");
  await page.answered();
  const partial = { text: await page.text(), ending: await page.ending(), announced: await page.announced() };
  await page.button("Continue");
  await page.answered();
  return { partial, text: await page.text(), ending: await page.ending(), status: await page.status() };
}

/** An answer that was stopped, and a continuation that is refused: nothing of it is lost. */
export async function notContinued(page) {
  await page.ask("Hi");
  await page.shows("0 1 2");
  await page.button("Stop");
  await page.answered();
  const before = await page.text();
  await page.button("Continue");
  await page.tab.locator(".ending", { hasText: "could not be continued" }).waitFor();
  const buttons = await page.tab.locator(".ending button").allInnerTexts();
  return { before, text: await page.text(), ending: await page.ending(), buttons };
}

/** A request that is refused, and Try again. */
export async function refused(page) {
  await page.ask("Hi");
  await page.answered();
  const ending = await page.ending();
  await page.button("Try again");
  await page.answered();
  return { ending, text: await page.text(), after: await page.ending() };
}

/** A short answer of a real model. */
export async function short(page, { maxTokens }) {
  await page.ready();
  await page.button("Settings");
  await page.tab.getByLabel("Max tokens").fill(String(maxTokens));
  await page.tab.keyboard.press("Escape");
  await page.ask("What is an API?");
  await page.answered();
  return { text: await page.text(), ending: await page.ending(), status: await page.status() };
}

/** On which side each paragraph begins. */
export async function sides(page) {
  await page.ask("Hi");
  await page.answered();
  return page.tab.locator(".answer .markdown p").evaluateAll((all) =>
    all.map((one) => {
      const range = document.createRange();
      range.setStart(one.firstChild, 0);
      range.setEnd(one.firstChild, 1);
      const [letter, line] = [range.getBoundingClientRect(), one.getBoundingClientRect()];
      return letter.left - line.left < line.right - letter.right ? "left" : "right";
    }),
  );
}

/** Markdown as it is shown. */
export async function markdown(page) {
  await page.ask("Hi");
  await page.answered();
  const answer = page.tab.locator(".answer").last();
  return {
    tags: await answer
      .locator(".markdown *")
      .evaluateAll((all) => [...new Set(all.map((one) => one.localName))].sort()),
    coloured: await answer.locator(".code-block .hljs-keyword").allInnerTexts(),
    language: await answer.locator(".code-block figcaption span").allInnerTexts(),
    links: await answer.locator("a").evaluateAll((all) => all.map((one) => [one.href, one.target, one.rel])),
    images: await answer.locator("img").count(),
    text: await page.text(),
  };
}
