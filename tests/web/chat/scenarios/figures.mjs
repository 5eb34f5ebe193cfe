// How fast the page is. Times are of one clock, that of the machine.

/** When the first word was on the screen. */
export async function firstToken(page) {
  await page.ready();
  await page.tab.evaluate(() => {
    const seen = new MutationObserver(() => {
      if (document.querySelector(".answer .markdown")?.textContent) {
        seen.disconnect();
        // The frame after the change has been painted when the next one begins.
        requestAnimationFrame(() => requestAnimationFrame(() => { window.shownAt = Date.now(); }));
      }
    });
    seen.observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await page.ask("Hi");
  await page.tab.waitForFunction(() => window.shownAt !== undefined);
  const shownAt = await page.tab.evaluate(() => window.shownAt);
  await page.button("Stop");
  return { shownAt };
}

/** How often the answer changes in a frame while it comes, and how long the longest task is. */
export async function longAnswer(page, { maxTokens }) {
  await page.ready();
  await page.button("Settings");
  await page.tab.getByLabel("Max tokens").fill(String(maxTokens));
  await page.tab.keyboard.press("Escape");
  await page.tab.evaluate(() => {
    window.counted = { changes: 0, frames: 0, twice: 0, longest: 0 };
    let inFrame = 0;
    const count = () => {
      window.counted.frames++;
      if (inFrame > 1) window.counted.twice++;
      inFrame = 0;
      requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
    // From the first word on, its ending with it: before it the page changes for other reasons too.
    new MutationObserver(() => {
      if (document.querySelector(".answer .status span + span") === null) return;
      inFrame++;
      window.counted.changes++;
    }).observe(document.querySelector("main"), { childList: true, subtree: true, characterData: true });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.counted.longest = Math.max(window.counted.longest, duration);
    }).observe({ type: "longtask" });
  });
  await page.ask("Hi");
  await page.tab.getByRole("button", { name: "Send", exact: true }).waitFor({ timeout: 120_000 });
  return { ...(await page.tab.evaluate(() => window.counted)), status: await page.status() };
}
