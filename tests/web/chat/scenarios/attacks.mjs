// What models, names and errors may say, and must not do.

/** Asks, opens whatever is folded, and tells what became of the answer. */
export async function answered(page) {
  await page.ask("Hi");
  await page.answered();
  for (const folded of await page.tab.locator(".folded:not([open]) > summary").all()) await folded.click();
  await page.tab.mouse.move(600, 300);
  const answer = page.tab.locator(".answer").last();
  return {
    text: await answer.innerText(),
    tags: await answer
      .locator(".markdown *, .ending *, .tool *, .unknown-block")
      .evaluateAll((all) => [...new Set(all.map((one) => one.localName))].sort()),
    attributes: await answer
      .locator(".markdown *")
      .evaluateAll((all) => [...new Set(all.flatMap((one) => one.getAttributeNames()))].sort()),
    hrefs: await answer.locator("a").evaluateAll((all) => all.map((one) => one.getAttribute("href"))),
    isOwned: await page.tab.evaluate(() => "owned" in window),
    model: await page.tab.locator(".model-picker option").first().innerText(),
  };
}

/** That the page's policy really stands: HTML from a string is refused, and so is a script of another origin. */
export async function policy(page) {
  const refusals = await page.tab.evaluate(() => {
    const tried = [
      () => {
        document.createElement("div").innerHTML = "<b>bold</b>";
      },
      () => window.trustedTypes.createPolicy("mine", { createHTML: (text) => text }),
      () => window.trustedTypes.createPolicy("dompurify", { createHTML: (text) => text }),
    ];
    return tried.map((attempt) => {
      try {
        attempt();
        return "allowed";
      } catch (error) {
        return error.name;
      }
    });
  });
  const fetched = await page.tab.evaluate(() => fetch("http://127.0.0.2:9/").then(() => "fetched", () => "refused"));
  // Behind a timer: what the debugger evaluates itself may evaluate more.
  const evaluated = await page.tab.evaluate(
    () =>
      new Promise((resolve) => {
        setTimeout(() => {
          try {
            resolve(String(new Function("return 1")()));
          } catch (error) {
            resolve(error.name);
          }
        });
      }),
  );
  return { refusals, fetched, evaluated };
}

/** A large answer: how long the page is busy, and what of it is there in the end. */
export async function large(page) {
  await page.ask("Hi");
  await page.answered();
  const answer = page.tab.locator(".answer").last();
  return {
    characters: await answer.evaluate((one) => one.textContent.length),
    rows: await answer.locator("tr").count(),
    pieces: await answer.locator(".piece").count(),
  };
}
