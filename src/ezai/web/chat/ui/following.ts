import type { RefObject } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const NEAR_PIXELS = 48;

interface Following {
  readonly scroller: RefObject<HTMLDivElement | null>;
  readonly isFollowing: boolean;
  readonly follow: () => void;
}

/** Keeps the end of what scrolls in view while it grows, until the reader scrolls up. */
export function useFollowing(): Following {
  const scroller = useRef<HTMLDivElement>(null);
  const [isFollowing, setFollowing] = useState(true);
  const following = useRef(true);

  const follow = useCallback(() => {
    following.current = true;
    setFollowing(true);
    toEnd(scroller.current);
  }, []);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    let top = element.scrollTop;
    const onScroll = () => {
      const isAtEnd = element.scrollHeight - element.clientHeight - element.scrollTop < NEAR_PIXELS;
      // Only scrolling up lets go: growing text moves the end away without anybody scrolling.
      if (isAtEnd) following.current = true;
      else if (element.scrollTop < top) following.current = false;
      top = element.scrollTop;
      setFollowing(following.current);
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => element.removeEventListener("scroll", onScroll);
  }, []);

  useEffect(() => {
    const column = scroller.current?.firstElementChild;
    if (column == null) return;
    const observer = new ResizeObserver(() => {
      if (following.current) toEnd(scroller.current);
    });
    observer.observe(column);
    return () => observer.disconnect();
  }, []);

  return { scroller, isFollowing, follow };
}

function toEnd(element: HTMLElement | null): void {
  if (element !== null) element.scrollTop = element.scrollHeight;
}
