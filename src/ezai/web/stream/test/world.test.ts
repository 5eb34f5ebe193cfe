import { afterEach, expect, test, vi } from "vitest";
import { worldWith } from "../world.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A page whose frames never come by themselves. */
function page(visibilityState: string) {
  vi.useFakeTimers();
  const frames: (() => void)[] = [];
  vi.stubGlobal("document", { visibilityState });
  vi.stubGlobal("requestAnimationFrame", (callback: () => void) => frames.push(callback));
  vi.stubGlobal("cancelAnimationFrame", (id: number) => frames.splice(id - 1, 1));
  const callback = vi.fn();
  worldWith({}).schedule(callback);
  return { frames, callback };
}

test("a page that is shown has frames", () => {
  const { frames, callback } = page("visible");
  vi.advanceTimersByTime(900);
  expect(callback).not.toHaveBeenCalled();
  frames[0]?.();
  vi.runAllTimers();
  expect(callback).toHaveBeenCalledOnce();
});

test("a page that is hidden has none, and gets a timer", () => {
  const { frames, callback } = page("hidden");
  vi.advanceTimersByTime(16);
  expect(callback).toHaveBeenCalledOnce();
  expect(frames).toHaveLength(0);
});

test("a page that is hidden while it waits for a frame does not wait for ever", () => {
  const { frames, callback } = page("visible");
  vi.advanceTimersByTime(1000);
  expect(callback).toHaveBeenCalledOnce();
  expect(frames).toHaveLength(0);
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
