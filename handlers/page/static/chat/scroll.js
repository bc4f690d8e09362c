// Only the reader scrolls. Following is begun by the reader and ended by the reader; distances decide nothing.

const ENDING_KEYS = ["PageUp", "ArrowUp", "Home"];

export class Scrolling {
  /** @param {AbortSignal} signal @param {(following: boolean) => void} changed */
  constructor(signal, changed) {
    this.following = false;
    /** How often the reader did something that may scroll. */
    this.moves = 0;
    this.changed = changed;
    for (const name of ["wheel", "touchstart", "keydown", "pointerdown"]) addEventListener(name, () => (this.moves += 1), { signal, passive: true });
    const end = () => this.#to(false);
    let at = scrollY;
    let byReader = false;
    addEventListener("wheel", (event) => (event.deltaY < 0 ? end() : (byReader = true)), { signal, passive: true });
    addEventListener("touchmove", () => (byReader = true), { signal, passive: true });
    addEventListener("touchstart", end, { signal, passive: true });
    addEventListener("pointerdown", (event) => (byReader = event.clientX >= document.documentElement.clientWidth), { signal });
    addEventListener("keydown", (event) => {
      if (isField(event.target)) return;
      if (ENDING_KEYS.includes(event.key)) end();
      else if (["PageDown", "ArrowDown", " "].includes(event.key)) byReader = true;
      else if (event.key === "End") this.follow();
    }, { signal });
    document.addEventListener("selectionchange", () => getSelection()?.isCollapsed === false && !isField(document.activeElement) && end(), { signal });
    document.addEventListener("toggle", (event) => /** @type {Element} */ (event.target).matches?.("details") && end(), { signal, capture: true });
    addEventListener("scroll", () => {
      if (scrollY < at - 2 && byReader) end();
      else if (byReader && this.atEnd) this.#to(true);
      if (scrollY !== at) byReader = byReader && this.following === false;
      at = scrollY;
      this.changed(this.following);
    }, { signal, passive: true });
  }

  get atEnd() {
    return innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  }

  #to(following) {
    if (this.following === following) return;
    this.following = following;
    this.changed(following);
  }

  /** Follow the newest text until the reader moves. */
  follow() {
    this.#to(true);
    this.grown();
  }

  /** There is more text. */
  grown() {
    if (this.following) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.changed(this.following);
  }
}

function isField(target) {
  return target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
}
