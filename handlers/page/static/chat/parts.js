// The messages of a conversation in parts, so that the browser does nothing for what is out of sight.

import { h } from "../lib/dom.js";

// Consecutive numbers of messages that share a part.
const SIZE = 25;

export class Parts {
  constructor() {
    this.element = h("div");
    /** @type {Map<number, HTMLElement>} */
    this.parts = new Map();
  }

  /** Begin to put messages in, the last one first. */
  begin() {
    this.number = Infinity;
    this.part = null;
    this.after = null;
  }

  /** Put a message before the one that was put in last. One that stands there is not touched. */
  put(element, sequence) {
    const number = Math.min(this.number, Math.floor(sequence / SIZE));
    if (number !== this.number) {
      this.part = this.#part(number);
      this.number = number;
      this.after = null;
    }
    if (element.parentNode !== this.part || element.nextElementSibling !== this.after) this.part.insertBefore(element, this.after);
    this.after = element;
  }

  #part(number) {
    let part = this.parts.get(number);
    if (!part) {
      part = h("div.part");
      this.element.insertBefore(part, this.part);
      this.parts.set(number, part);
    }
    return part;
  }

  /** Take messages out, and the parts that held no others. */
  take(elements) {
    for (const element of elements) element.remove();
    for (const [number, part] of this.parts) {
      if (part.childElementCount) continue;
      part.remove();
      this.parts.delete(number);
    }
  }

  /** Return the first message that ends below a height of the window, null if all end above it. */
  at(height) {
    const part = firstBelow(this.element.children, height);
    return part && firstBelow(part.children, height);
  }

  /** Return the first message after this one that ends below a height, or the last one. */
  below(element, height) {
    for (let at = element; ; ) {
      const next = at.getBoundingClientRect().bottom > height ? at : this.beside(at, 1);
      if (next === at) return at;
      at = next;
    }
  }

  /** Return the message before or after another one, or that itself at either end. */
  beside(element, step) {
    const inPart = step > 0 ? element.nextElementSibling : element.previousElementSibling;
    if (inPart) return inPart;
    const part = step > 0 ? element.parentNode.nextElementSibling : element.parentNode.previousElementSibling;
    return (step > 0 ? part?.firstElementChild : part?.lastElementChild) ?? element;
  }
}

/** Search by halves: each look at a place costs the layout of what it is in. */
function firstBelow(elements, height) {
  let low = 0;
  let high = elements.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (elements[middle].getBoundingClientRect().bottom > height) high = middle;
    else low = middle + 1;
  }
  return elements[low] ?? null;
}
