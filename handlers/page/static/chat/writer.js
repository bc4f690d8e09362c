// Shows an answer while it is written. What is finished is never touched again.

import { h } from "../lib/dom.js";
import { showServerHtml } from "../lib/html.js";
import { decorate } from "./decorate.js";

const LEAST_MS = 80;

export class Writer {
  /** @param {HTMLElement} element that the text is shown in
   *  @param {import("./answer.js").Answer} answer */
  constructor(element, answer) {
    this.element = element;
    this.answer = answer;
    this.shown = 0;
    this.openShown = "";
    this.last = 0;
    this.due = 0;
    this.caret = h("span.caret", { "aria-hidden": "true" });
    this.open = h("div.open");
  }

  /** Show what is new, at most every 80 ms and once a frame. */
  schedule() {
    if (this.due) return;
    const rest = Math.max(0, LEAST_MS - (performance.now() - this.last));
    this.due = setTimeout(() => requestAnimationFrame(() => this.#show()), rest);
  }

  #show() {
    this.due = 0;
    this.last = performance.now();
    if (this.answer.rendered) this.#showBlocks();
    else this.#showPlain();
    this.element.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  }

  #showPlain() {
    const text = this.answer.text;
    if (!this.plain) {
      this.plain = document.createTextNode("");
      this.element.replaceChildren(h("p.raw", {}, this.plain, this.caret));
    }
    this.plain.appendData(text.slice(this.plain.length));
  }

  #showBlocks() {
    if (this.open.parentNode !== this.element) {
      this.element.replaceChildren(this.open);
      this.shown = 0;
    }
    const { blocks } = this.answer;
    for (; this.shown < blocks.length; this.shown += 1) {
      const block = h("div");
      showServerHtml(block, blocks[this.shown] ?? "");
      decorate(block);
      this.open.before(...block.childNodes);
      this.openShown = null;
    }
    if (this.openShown === this.answer.open || this.#isHeld()) return;
    this.openShown = this.answer.open;
    showServerHtml(this.open, this.answer.open);
    deepest(this.open).append(this.caret);
  }

  /** A selection inside the open block holds it until it is released. */
  #isHeld() {
    const selection = getSelection();
    return selection && !selection.isCollapsed && this.open.contains(selection.anchorNode) && this.answer.open !== "";
  }

  /** Show all of it, without the caret. */
  end() {
    clearTimeout(this.due);
    this.#show();
    this.caret.remove();
    if (this.answer.rendered && this.open.parentNode) {
      if (this.answer.open) showServerHtml(this.open, this.answer.open);
      decorate(this.open);
      this.open.replaceWith(...this.open.childNodes);
    }
  }
}

/** Return the element that the end of a text is in. */
function deepest(element) {
  let at = element;
  while (at.lastElementChild && !["MATH", "TABLE", "FIGURE", "svg", "math", "BR", "HR"].includes(at.lastElementChild.tagName)) at = at.lastElementChild;
  return at;
}
