// Folders of the list. They fold, and this browser remembers which are open.

import { h, icon, iconButton } from "../lib/dom.js";
import "../lib/more.js";
import { number, t } from "../lib/words.js";
import { isOpen, keepOpen } from "./folder-names.js";
import { Section } from "./section.js";

class Folder {
  constructor(list, name) {
    this.name = name;
    this.section = new Section(list, { folder: name, pinned: "false" });
    this.section.element.hidden = true;
    this.section.element.className = "inside";
    this.count = h("span.tail");
    this.button = h("button.line", { type: "button", "aria-expanded": "false", onclick: () => this.open(!this.isOpen) }, icon("on", true), h("span.cut", { dir: "auto" }, name), this.count);
    const act = iconButton("more", t("folder.actions", { name }), null, { kind: "b.quiet.tiny.icon.act", tabindex: -1, "aria-haspopup": "menu" });
    this.element = h("div", {}, h("div.fold", { "data-folder": name }, this.button, act), this.section.element);
    this.section.folder = this;
  }

  get isOpen() {
    return !this.section.element.hidden;
  }

  /** Show what is in it, or hide it. */
  async open(is) {
    this.section.element.hidden = !is;
    this.button.setAttribute("aria-expanded", String(is));
    keepOpen(this.name, is);
    if (is && !this.section.entries.length) await this.section.page();
  }
}

export class Folders {
  constructor(list, element) {
    this.list = list;
    this.element = element;
    /** @type {Map<string, Folder>} */
    this.all = new Map();
  }

  /**
   * Show folders with their numbers. What is open stays open.
   * @param {{name: string, count: number}[]} found
   */
  async show(found) {
    const before = this.all;
    const waits = [];
    this.all = new Map();
    for (const { name, count } of found) {
      const folder = before.get(name) ?? new Folder(this.list, name);
      folder.count.textContent = number(count);
      this.all.set(name, folder);
      if (!before.has(name) && isOpen(name)) waits.push(folder.open(true));
    }
    for (const [name, folder] of before) if (!this.all.has(name)) this.#close(folder);
    this.#arrange();
    await Promise.all(waits);
  }

  #close(folder) {
    for (const entry of [...folder.section.entries]) folder.section.drop(entry);
    folder.element.remove();
  }

  /** Show the folders in order; what is there already is not moved, so that nothing loses the focus. */
  #arrange() {
    if (!this.all.size) return this.element.replaceChildren();
    if (!this.head?.isConnected) this.element.prepend((this.head = h("h2", {}, t("list.folders"))));
    let last = this.head;
    for (const { element } of this.all.values()) {
      if (last.nextElementSibling !== element) last.after(element);
      last = element;
    }
  }

  /** Return the part of the list for a folder. */
  sectionOf(name) {
    return this.all.get(name)?.section ?? null;
  }
}
