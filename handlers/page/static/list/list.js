// The list of conversations: a page at a time, ordered by their last message, with what goes on in them.

import { get } from "../api/client.js";
import { drafts } from "../chat/drafts.js";
import { listen } from "../lib/bus.js";
import { h, icon, iconButton } from "../lib/dom.js";
import { here, linkTo } from "../lib/router.js";
import { month, t } from "../lib/words.js";

const PAGE = 50;
const DAY = 86_400_000;

export class List extends HTMLElement {
  connectedCallback() {
    if (this.nav) return;
    /** @type {Map<string, {id: string, title: string, updated_at: number, row: HTMLElement}>} */
    this.known = new Map();
    this.states = new Map();
    this.drafted = new Set();
    this.nav = h("nav", { "aria-label": t("list.conversations") });
    this.more = h("p.note.dim.more", { hidden: true }, t("list.loading"));
    const fresh = h("a.line", { href: linkTo({}) }, icon("pen"), t("list.new"), h("span.tail", {}, h("kbd", {}, "n")));
    const search = h("a.line", { href: linkTo({ search: "" }) }, icon("search"), t("list.search"), h("span.tail", {}, h("kbd", {}, "/")));
    const hide = iconButton("two", t("list.hide"), () => this.dispatchEvent(new Event("hide")), { kind: "b.quiet.icon" });
    const brand = h("div.brand", {}, h("a", { href: linkTo({}) }, "Jan"), h("span.dim.cut", {}, location.hostname), h("span.sp"), hide);
    this.foot = h("div.side-foot");
    this.append(brand, h("div.side-top", {}, fresh, search), this.nav, this.foot);
    this.nav.addEventListener("keydown", (event) => this.#key(event));
    listen("answer", (answer) => this.#answer(answer));
    listen("conversation", (changed) => this.#titled(changed));
    listen("draft", () => this.#marks());
    for (const name of ["asked", "elsewhere"]) listen(name, (conversation) => this.#asked(conversation));
    listen("place", () => this.mark());
    listen("imported", () => this.load().catch(() => {}));
    this.watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.#page(), { root: this.nav, rootMargin: "600px" });
  }

  /** Read the list anew. */
  async load() {
    this.cursor = null;
    this.known.clear();
    this.loading = false;
    this.complete = false;
    this.nav.replaceChildren(this.more);
    this.lastGroup = null;
    await this.#page();
    this.watcher.observe(this.more);
  }

  async #page() {
    if (this.loading || this.complete) return;
    this.loading = true;
    this.more.hidden = false;
    try {
      const query = this.cursor ? `&cursor=${encodeURIComponent(this.cursor)}` : "";
      const page = await get(`conversations?limit=${PAGE}${query}`);
      for (const one of page.data) if (!this.known.has(one.id)) this.#append(one);
      this.cursor = page.next_cursor;
      this.complete = !page.has_more;
    } finally {
      this.loading = false;
      this.more.hidden = this.complete;
    }
    this.mark();
    this.#marks();
    if (!this.complete) {
      // Looked at anew: the observer tells of changes only.
      this.watcher.unobserve(this.more);
      this.watcher.observe(this.more);
    }
  }

  #append(one) {
    const group = groupOf(one.updated_at);
    const isNew = group !== this.lastGroup;
    if (isNew) this.more.before(h("h2", {}, group));
    // Lists of one page each: the browser does nothing for those that are out of sight.
    if (isNew || this.ul.childElementCount === PAGE) this.more.before((this.ul = h("ul.bare")));
    this.lastGroup = group;
    this.ul.append(this.#row(one));
  }

  #row(one) {
    const title = h("span.cut", { dir: "auto" }, one.title || t("list.untitled"));
    const tail = h("span.tail");
    const link = h("a.line", { href: linkTo({ c: one.id }) }, title, tail);
    const row = h("li", {}, link);
    this.known.set(one.id, { ...one, row, link, title, tail });
    return row;
  }

  /** Mark the conversation that is open. */
  mark() {
    const { c } = here();
    this.nav.querySelector("[aria-current]")?.removeAttribute("aria-current");
    this.known.get(c)?.link.setAttribute("aria-current", "page");
    if (this.states.get(c) === "ready") this.#state(c, null);
  }

  #marks() {
    const open = here().c;
    const names = new Set(drafts().filter((id) => id !== open));
    // Of thousands of rows, a few have one or had one.
    for (const id of new Set([...names, ...this.drafted])) {
      if (this.states.has(id)) continue;
      this.known.get(id)?.tail.replaceChildren(...(names.has(id) ? [t("list.draft")] : []));
    }
    this.drafted = names;
  }

  #state(id, state) {
    if (state) this.states.set(id, state);
    else this.states.delete(id);
    const known = this.known.get(id);
    if (!known) return;
    const dot = { writing: "dot.busy", ready: "dot.good", failed: "dot.bad" }[state];
    known.tail.replaceChildren(...(state ? [h(`span.${dot}`), t(`list.${state}`)] : []));
  }

  #answer(answer) {
    const id = answer.conversationId;
    const open = here().c === id && !document.hidden;
    const state = !answer.done ? "writing" : open || answer.state === "refused" ? null : answer.state === "failed" ? "failed" : "ready";
    if (this.states.get(id) !== state) this.#state(id, state);
  }

  /** A message was sent: its conversation is the newest. */
  #asked(conversation) {
    const known = this.known.get(conversation.id);
    const now = Date.now() / 1000;
    if (known && this.nav.querySelector("li") === known.row) return;
    known?.row.remove();
    const today = groupOf(now);
    let head = this.nav.querySelector("h2");
    if (head?.textContent !== today) {
      head = h("h2", {}, today);
      this.nav.prepend(head, h("ul.bare"));
    }
    const title = known?.title.textContent || conversation.title;
    const row = this.#row({ id: conversation.id, title, updated_at: now });
    head.nextElementSibling.prepend(row);
    this.#state(conversation.id, this.states.get(conversation.id) ?? null);
    this.mark();
  }

  /** A late title changes words, never the order. */
  #titled({ id, title }) {
    const known = this.known.get(id);
    if (known) known.title.textContent = title;
  }

  /** Hide a conversation that may come back, or show it again. */
  hide(id, is = true) {
    const known = this.known.get(id);
    if (known) known.row.hidden = is;
  }

  /** Take a conversation out of the list: it was deleted. */
  forget(id) {
    this.known.get(id)?.row.remove();
    this.known.delete(id);
  }

  #key(event) {
    const rows = [...this.nav.querySelectorAll("a.line")].filter((row) => !row.parentElement.hidden);
    const at = rows.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    rows[Math.max(0, Math.min(rows.length - 1, to))].focus();
  }

  /** The conversation after or before the one that is open. */
  beside(step) {
    const rows = [...this.known.values()];
    const at = rows.findIndex(({ id }) => id === here().c);
    return rows[at + step]?.id ?? null;
  }
}

function groupOf(seconds) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const at = seconds * 1000;
  if (at >= midnight) return t("list.today");
  if (at >= midnight - DAY) return t("list.yesterday");
  if (at >= midnight - 7 * DAY) return t("list.week");
  return month(seconds);
}

customElements.define("jan-list", List);
