// The archive: conversations that are in no list but this one.

import { get } from "../api/client.js";
import { deleteConversation } from "../chat/manage.js";
import { noticeOf } from "../chat/notices.js";
import { listen } from "../lib/bus.js";
import { button, h, iconButton } from "../lib/dom.js";
import "../lib/more.js";
import { linkTo } from "../lib/router.js";
import { moment, t } from "../lib/words.js";
import { archive } from "../list/acts.js";

/** Show the archive. */
export function showArchive(frame) {
  const off = new AbortController();
  frame.showFoot(false);
  frame.showTitle(t("list.archive"));
  const page = new Archive(frame, off.signal);
  frame.showMain(h("main.body.slim", { id: "page", tabindex: -1 }, h("p.soft", {}, t("archive.lead")), page.rows, page.none, page.more));
  page.read();
  return () => off.abort();
}

class Archive {
  constructor(frame, signal) {
    this.frame = frame;
    this.signal = signal;
    this.cursor = null;
    /** @type {Map<string, {row: HTMLElement, title: string}>} */
    this.known = new Map();
    this.rows = h("ul.bare.archived");
    this.none = h("p.dim", { hidden: true }, t("archive.none"));
    this.more = h("p.row", { hidden: true }, button(t("search.more"), () => this.read()));
    listen("sorted", (one) => (one.archived ? this.#add(one, true) : this.forget(one.id)), signal);
    listen("deleted", (id) => this.forget(id), signal);
  }

  /** Read a page of it. */
  async read() {
    const cursor = this.cursor ? `&cursor=${encodeURIComponent(this.cursor)}` : "";
    try {
      const page = await get(`conversations?archived=true&limit=50${cursor}`, { signal: this.signal });
      for (const one of page.data) this.#add(one);
      this.cursor = page.next_cursor;
      this.more.hidden = !page.has_more;
      this.none.hidden = this.known.size > 0;
    } catch (error) {
      if (!this.signal.aborted) this.rows.append(h("li", {}, noticeOf(error, { retry: () => (this.rows.lastElementChild.remove(), this.read()) })));
    }
  }

  #add(one, first = false) {
    if (this.known.has(one.id)) return;
    const title = one.title || t("list.untitled");
    const link = h("a.cut", { href: linkTo({ c: one.id }), dir: "auto" }, title);
    const back = button(t("list.restore"), () => archive({ ...one, title }), { kind: "b.quiet.tiny" });
    const drop = iconButton("bin", t("archive.delete", { title }), () => deleteConversation({ id: one.id, title }, { list: this }));
    const row = h("li.row", {}, link, h("span.sp"), h("span.note.dim.wide-only", {}, moment(one.updated_at)), back, drop);
    this.known.set(one.id, { row, title });
    if (first) this.rows.prepend(row);
    else this.rows.append(row);
    this.none.hidden = true;
  }

  /** Hide a conversation that may come back, or show it again. */
  hide(id, is = true) {
    const known = this.known.get(id);
    if (known) known.row.hidden = is;
  }

  /** Take out a conversation that is not archived any more. The focus goes to the next one. */
  forget(id) {
    const known = this.known.get(id);
    if (!known) return;
    const next = (known.row.nextElementSibling ?? known.row.previousElementSibling)?.querySelector("a");
    if (known.row.contains(document.activeElement)) (next ?? document.getElementById("page")).focus();
    known.row.remove();
    this.known.delete(id);
    this.none.hidden = this.known.size > 0 || !this.more.hidden;
  }
}
