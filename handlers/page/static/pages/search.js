// Searching titles and messages of all conversations.

import { get } from "../api/client.js";
import { noticeOf } from "../chat/notices.js";
import { button, h, icon } from "../lib/dom.js";
import "../lib/more.js";
import { linkTo, rename } from "../lib/router.js";
import { moment, t } from "../lib/words.js";

const PAUSE_MS = 200;

/** Show the page of the search. */
export function showSearch(frame, place) {
  const off = new AbortController();
  frame.showFoot(false);
  frame.showTitle(t("list.search"));
  const page = new SearchPage(place.search ?? "", off.signal);
  frame.showMain(h("main.body.slim", { id: "page", tabindex: -1 }, page.form, page.hits, page.more));
  page.field.focus();
  page.look();
  return () => off.abort();
}

class SearchPage {
  constructor(words, signal) {
    this.signal = signal;
    this.turn = 0;
    this.field = /** @type {HTMLInputElement} */ (h("input.in", { type: "search", "aria-label": t("search.field"), placeholder: t("search.field"), autocomplete: "off" }));
    this.field.value = words;
    this.said = h("p.note.dim", { role: "status" });
    this.hits = h("ol.hits.bare");
    this.more = h("p.row", { hidden: true }, button(t("search.more"), () => this.#page(this.turn)));
    this.form = h("form.gap", { role: "search", onsubmit: (event) => (event.preventDefault(), this.look()) }, h("div.seek", {}, icon("search"), this.field), this.said);
    let timer = 0;
    this.field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.look(), PAUSE_MS);
    });
    this.form.addEventListener("keydown", (event) => event.key === "ArrowDown" && this.hits.querySelector("a")?.focus());
    this.hits.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Look for what is in the field. */
  look() {
    const words = this.field.value.trim();
    this.turn += 1;
    this.cursor = null;
    this.count = 0;
    this.groups = new Map();
    rename({ search: words });
    if (words) return this.#page(this.turn, words);
    this.hits.replaceChildren();
    this.said.textContent = "";
    this.more.hidden = true;
  }

  async #page(turn, words = this.field.value.trim()) {
    const cursor = this.cursor ? `&cursor=${encodeURIComponent(this.cursor)}` : "";
    try {
      const found = await get(`search?q=${encodeURIComponent(words)}${cursor}`, { signal: this.signal });
      if (turn !== this.turn) return;
      if (!this.cursor) this.hits.replaceChildren();
      this.cursor = found.next_cursor;
      this.more.hidden = !found.has_more;
      for (const hit of found.data) this.#show(hit);
      this.count += found.data.length;
      const parts = [this.count ? t("search.hits", { n: this.count }) : t("search.none", { words }), found.truncated && t("search.truncated"), found.indexing && t("search.indexing")];
      this.said.textContent = parts.filter(Boolean).join(" ");
    } catch (error) {
      if (turn === this.turn && !this.signal.aborted) this.hits.replaceChildren(h("li", {}, noticeOf(error, { retry: () => this.look() })));
    }
  }

  /** Hits of one conversation stand together, in the place of its first one. */
  #show(hit) {
    const { conversation_id: id, title, message_id: m, snippet } = hit;
    let group = this.groups.get(id);
    if (!group) {
      group = h("li", {}, h("h2", {}, h("a", { href: linkTo({ c: id }), dir: "auto" }, title || t("list.untitled"))));
      this.groups.set(id, group);
      this.hits.append(group);
    }
    const parts = snippet.map((part) => (part.hit ? h("mark", {}, part.text) : part.text));
    if (!m) group.querySelector("h2 a").replaceChildren(...parts);
    else group.append(h("a.hit", { href: linkTo({ c: id, m }) }, h("span.dim", {}, h("span", {}, hit.role === "user" ? t("you") : t("answer")), " ", h("span", {}, moment(hit.created_at))), h("p", { dir: "auto" }, ...parts)));
  }

  #move(event) {
    const links = [...this.hits.querySelectorAll("a")];
    const at = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || at < 0) return;
    event.preventDefault();
    (links[at + step] ?? (step < 0 ? this.field : links[at])).focus();
  }
}
