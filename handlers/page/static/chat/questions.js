// The links to the questions of a conversation, in the margin, and the mark at the one that is read.

import { h } from "../lib/dom.js";
import "../lib/more.js";
import { textOf } from "./tree.js";

const LENGTH = 80;

export class Questions {
  /** `least`: with fewer questions nothing is shown. */
  constructor(name, least) {
    this.least = least;
    this.list = h("div");
    this.element = h("nav.asked", { "aria-label": name, hidden: true }, this.list);
    /** The questions, in order, and their links. @type {{key: string, sequence: number, link: HTMLElement}[]} */
    this.all = [];
  }

  /** Show links to the questions among these messages. Links that stay are not touched. */
  show(messages, keyOf) {
    const asked = messages.filter(({ role }) => role === "user");
    this.element.hidden = asked.length < this.least;
    if (this.element.hidden) return;
    const before = new Map(this.all.map(({ key, link }) => [key, link]));
    this.all = asked.map((message) => ({ key: keyOf(message), sequence: message.sequence, link: before.get(keyOf(message)) ?? linkTo(message, keyOf(message)) }));
    for (const { key } of this.all) before.delete(key);
    for (const link of before.values()) link.remove();
    let after = null;
    for (const { link } of this.all.toReversed()) {
      if (link.parentNode === null || link.nextElementSibling !== after) this.list.insertBefore(link, after);
      after = link;
    }
  }

  /** Mark the last question that is not after a message. */
  mark({ sequence }) {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.all[middle].sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    const link = this.all[low - 1]?.link ?? null;
    if (link === this.marked) return;
    this.marked?.removeAttribute("aria-current");
    this.marked = link;
    link?.setAttribute("aria-current", "true");
    if (link) this.#reach(link);
  }

  /** Scroll the list, not the page, so that a link is in sight. */
  #reach(link) {
    const { list } = this;
    const top = link.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top + link.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
  }
}

function linkTo(message, key) {
  return h("a", { href: `#m-${key}`, dir: "auto" }, textOf(message).slice(0, LENGTH));
}
