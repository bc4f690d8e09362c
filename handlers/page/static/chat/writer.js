// Shows an answer while it is written. What is finished is not touched again, unless the server replaces it.

import { h } from "../lib/dom.js";
import { showServerHtml } from "../lib/html.js";
import { decorate } from "./decorate.js";
import { openBlock } from "./open-block.js";

const LEAST_MS = 80;

export class Writer {
  /** @param {HTMLElement} element that the text is shown in
   *  @param {import("./answer.js").Answer} answer */
  constructor(element, answer) {
    this.element = element;
    this.answer = answer;
    /** What is shown of each finished block: its HTML and its elements. */
    this.shown = [];
    this.openText = null;
    this.last = 0;
    this.due = 0;
    this.ended = false;
    this.caret = h("span.caret", { "aria-hidden": "true" });
    this.open = h("div.open");
  }

  /** Show what is new, at most every 80 ms and once a frame. */
  schedule() {
    if (this.due) return;
    const rest = Math.max(0, LEAST_MS - (performance.now() - this.last));
    this.due = setTimeout(() => requestAnimationFrame(() => this.ended || this.#show()), rest);
  }

  #show() {
    this.due = 0;
    this.last = performance.now();
    if (this.open.parentNode !== this.element) this.element.replaceChildren(this.open);
    this.#showFinished();
    this.#showOpen();
    this.element.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  }

  #showFinished() {
    for (const [index, block] of this.answer.blocks.entries()) {
      const before = this.shown[index];
      if (!block || before?.html === block.html) continue;
      const made = h("div");
      showServerHtml(made, block.html);
      decorate(made);
      const nodes = [...made.childNodes];
      if (before) {
        before.nodes[0]?.before(...nodes);
        for (const node of before.nodes) node.remove();
      } else this.open.before(...nodes);
      this.shown[index] = { html: block.html, nodes };
    }
  }

  #showOpen() {
    const text = this.answer.openText;
    if (text === this.openText || this.#isHeld()) return;
    this.openText = text;
    this.open.replaceChildren(...openBlock(text));
    deepest(this.open).append(this.caret);
  }

  /** A selection inside the open block holds it until it is released. */
  #isHeld() {
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && this.open.contains(selection.anchorNode) && this.answer.openText);
  }

  /** Show all of it, without the caret. Returns whether everything is HTML of the server. */
  end() {
    clearTimeout(this.due);
    this.ended = true;
    this.#show();
    this.caret.remove();
    if (this.answer.openText.trim()) return false;
    this.open.remove();
    return true;
  }
}

/** Return the element that the end of a text is in. */
function deepest(element) {
  let at = element;
  while (at.lastElementChild && !["BR", "HR", "SPAN"].includes(at.lastElementChild.tagName)) at = at.lastElementChild;
  return at;
}
