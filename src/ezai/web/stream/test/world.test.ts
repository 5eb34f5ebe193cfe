import { afterEach, expect, test, vi } from "vitest";
import { worldWith } from "../world.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test.each([
  ["a page that is shown has frames", "visible", 1],
  ["a page that is hidden has none, and gets a timer", "hidden", 0],
])("%s", (_, visibilityState, frames) => {
  vi.useFakeTimers();
  const requestAnimationFrame = vi.fn();
  vi.stubGlobal("document", { visibilityState });
  vi.stubGlobal("requestAnimationFrame", requestAnimationFrame);
  const callback = vi.fn();
  worldWith({}).schedule(callback);
  vi.runAllTimers();
  expect(requestAnimationFrame).toHaveBeenCalledTimes(frames);
  expect(callback).toHaveBeenCalledTimes(1 - frames);
});

test("where there is no page there is a timer", () => {
  vi.useFakeTimers();
  const callback = vi.fn();
  worldWith({}).schedule(callback);
  expect(callback).not.toHaveBeenCalled();
  vi.runAllTimers();
  expect(callback).toHaveBeenCalledOnce();
});

test("the clock calls back once, unless it is told not to", () => {
  vi.useFakeTimers();
  const { clock } = worldWith({});
  const [kept, forgotten] = [vi.fn(), vi.fn()];
  clock.after(50, kept);
  clock.after(50, forgotten)();
  const before = clock.now();
  vi.advanceTimersByTime(200);
  expect(kept).toHaveBeenCalledOnce();
  expect(forgotten).not.toHaveBeenCalled();
  expect(clock.now() - before).toBe(200);
});

test("fetch is looked up when it is needed, and what is given is taken", async () => {
  const world = worldWith({ random: () => 0.25 });
  const answer = new Response("later");
  vi.stubGlobal("fetch", async () => answer);
  expect(await world.fetch("http://gateway")).toBe(answer);
  expect(world.random()).toBe(0.25);
});
