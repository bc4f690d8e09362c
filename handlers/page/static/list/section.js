// A part of the list: conversations of one kind, a page at a time, ordered by their last message.

import { get } from "../api/client.js";
import { h, iconButton } from "../lib/dom.js";
import { linkTo } from "../lib/router.js";
import { month, t } from "../lib/words.js";

const PAGE = 50;
const DAY = 86_400_000;

/**
 * A conversation in the list.
 * @typedef {{id: string, updated_at: number, pinned: boolean, archived: boolean, folder: string, row: HTMLElement,
 *   link: HTMLElement, title: HTMLElement, tail: HTMLElement, section: Section}} Entry
 */

export class Section {
  /**
   * @param {import("./list.js").List} list
   * @param {Record<string, any>} filter of the conversations
   * @param {{grouped?: boolean}} [how] `grouped`: below the names of their days
   */
  constructor(list, filter, { grouped = false } = {}) {
    this.list = list;
    this.known = list.known;
    this.query = new URLSearchParams({ ...filter, archived: "false", limit: String(PAGE) }).toString();
    this.grouped = grouped;
    /** @type {Entry[]} */
    this.entries = [];
    this.more = h("p.note.dim.more", { hidden: true }, t("list.loading"));
    this.element = h("div", {}, this.more);
    this.complete = false;
    this.cursor = null;
  }

  /** Read one page more. */
  async page() {
    if (this.loading || this.complete) return;
    this.loading = true;
    this.more.hidden = false;
    try {
      const cursor = this.cursor ? `&cursor=${encodeURIComponent(this.cursor)}` : "";
      const page = await get(`conversations?${this.query}${cursor}`);
      for (const one of page.data) if (!this.known.has(one.id)) this.#append(one);
      this.cursor = page.next_cursor;
      this.complete = !page.has_more;
    } finally {
      this.loading = false;
      this.more.hidden = this.complete;
    }
    this.list.grown(this);
  }

  #append(one) {
    const last = this.entries.at(-1);
    const group = this.#groupOf(one.updated_at);
    const isNew = !last || group !== this.#groupOf(last.updated_at);
    if (isNew && group) this.more.before(h("h2", {}, group));
    // Lists of one page each: the browser does nothing for those that are out of sight.
    let ul = last?.row.parentElement;
    if (isNew || ul.childElementCount >= PAGE) this.more.before((ul = h("ul.bare")));
    const entry = this.#entry(one);
    ul.append(entry.row);
    this.entries.push(entry);
  }

  /** Show a conversation in its place, unless that is on a page that was not read. */
  insert(one) {
    // Times are whole seconds. Ids sort by time too.
    const isOlder = ({ id, updated_at }) => updated_at < one.updated_at || (updated_at === one.updated_at && id < one.id);
    const at = this.entries.findIndex(isOlder);
    if (at < 0) {
      if (this.complete) this.#append(one);
      return;
    }
    const [before, after] = [this.entries[at - 1], this.entries[at]];
    const group = this.#groupOf(one.updated_at);
    const entry = this.#entry(one);
    if (group === this.#groupOf(after.updated_at)) after.row.before(entry.row);
    else if (before && group === this.#groupOf(before.updated_at)) before.row.after(entry.row);
    else after.row.parentElement.previousElementSibling.before(h("h2", {}, group), h("ul.bare", {}, entry.row));
    this.entries.splice(at, 0, entry);
  }

  /** Take a conversation out, and the name of its day if it was the only one. */
  drop(entry) {
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.known.delete(entry.id);
    const ul = entry.row.parentElement;
    entry.row.remove();
    if (ul.childElementCount) return;
    const head = ul.previousElementSibling;
    if (head?.tagName === "H2" && ul.nextElementSibling?.tagName !== "UL") head.remove();
    ul.remove();
  }

  /** @returns {Entry} */
  #entry({ id, title, updated_at, pinned = false, archived = false, folder = "" }) {
    const words = h("span.cut", { dir: "auto" }, title || t("list.untitled"));
    const tail = h("span.tail");
    const link = h("a.line", { href: linkTo({ c: id }) }, words, tail);
    const act = iconButton("more", t("list.actions", { title: title || t("list.untitled") }), null, { kind: "b.quiet.tiny.icon.act", tabindex: -1, "aria-haspopup": "menu" });
    const entry = { id, updated_at, pinned, archived, folder, row: h("li", { "data-id": id }, link, act), link, title: words, tail, section: this };
    this.known.set(id, entry);
    return entry;
  }

  #groupOf(seconds) {
    if (!this.grouped) return "";
    const midnight = new Date().setHours(0, 0, 0, 0);
    const at = seconds * 1000;
    if (at >= midnight) return t("list.today");
    if (at >= midnight - DAY) return t("list.yesterday");
    if (at >= midnight - 7 * DAY) return t("list.week");
    return month(seconds);
  }
}
