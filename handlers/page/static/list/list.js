// The list of conversations: pinned ones, folders, the others by their last message, with what goes on in them.

import { get } from "../api/client.js";
import { drafts } from "../chat/drafts.js";
import { listen } from "../lib/bus.js";
import { h, icon, iconButton } from "../lib/dom.js";
import { here, linkTo } from "../lib/router.js";
import { t } from "../lib/words.js";
import { readFolders } from "./folder-names.js";
import { folderMenu, rowMenu } from "./menus.js";
import { Section } from "./section.js";

/** @typedef {import("./section.js").Entry} Entry */

export class List extends HTMLElement {
  connectedCallback() {
    if (this.nav) return;
    /** @type {Map<string, Entry>} */
    this.known = new Map();
    this.states = new Map();
    this.drafted = new Set();
    this.marked = [];
    this.loaded = Promise.resolve();
    this.nav = h("nav", { "aria-label": t("list.conversations") });
    const hide = iconButton("two", t("list.hide"), () => this.dispatchEvent(new Event("hide")), { kind: "b.quiet.icon" });
    const brand = h("div.brand", {}, h("a", { href: linkTo({}) }, "Jan"), h("span.dim.cut", {}, location.hostname), h("span.sp"), hide);
    const places = h("div.side-top", {}, placeLink({}, "pen", "list.new", "n"), placeLink({ search: "" }, "search", "list.search", "/"), placeLink({ view: "archive" }, "box", "list.archive"));
    this.foot = h("div.side-foot");
    this.append(brand, places, this.nav, this.foot);
    this.nav.addEventListener("keydown", (event) => this.#key(event));
    this.nav.addEventListener("click", (event) => this.#act(/** @type {Element} */ (event.target).closest(".act")));
    this.nav.addEventListener("contextmenu", (event) => this.#context(event));
    listen("answer", (answer) => this.#answer(answer));
    listen("conversation", (changed) => this.#titled(changed));
    listen("draft", () => this.#marks());
    for (const name of ["asked", "elsewhere"]) listen(name, (conversation) => this.#asked(conversation));
    listen("place", () => this.mark());
    listen("sorted", (one) => this.#sorted(one));
    listen("deleted", (id) => this.forget(id));
    for (const name of ["imported", "folders"]) listen(name, (folder) => this.load(folder).catch(() => {}));
    const seen = (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => this.waiting.get(target)?.page().catch(() => {}));
    this.watcher = new IntersectionObserver(seen, { root: this.nav, rootMargin: "600px" });
  }

  /** Read the list anew, after what is being read. If the focus is in it, it goes to a folder or the first row. */
  load(folder = null) {
    return (this.loaded = this.loaded.catch(() => {}).then(() => this.#load(folder)));
  }

  async #load(folder) {
    this.watcher.disconnect();
    this.known = new Map();
    this.waiting = new WeakMap();
    this.pinned = new Section(this, { pinned: "true" });
    this.folders = null;
    this.shelf = h("div");
    this.others = new Section(this, { pinned: "false", folder: "" }, { grouped: true });
    const head = h("h2", {}, t("list.pinned"));
    const pins = h("div.pinned", {}, head, this.pinned.element);
    await Promise.all([this.pinned.page(), this.#readFolders(), this.others.page()]);
    const held = this.nav.contains(document.activeElement);
    this.nav.replaceChildren(pins, this.shelf, this.others.element);
    if (held) (this.folders?.all.get(folder)?.button ?? /** @type {HTMLElement} */ (this.querySelector("nav .line, a"))).focus();
    this.#marks();
  }

  /** Read names and numbers of the folders. What shows them is loaded once there are some. */
  async #readFolders() {
    const { shelf } = this;
    const found = await readFolders("&pinned=false&archived=false");
    if (!found.length && !this.folders) return;
    const { Folders } = await import("./folders.js");
    if (shelf === this.shelf) await (this.folders ??= new Folders(this, shelf)).show(found);
  }

  /** More of a part was read. */
  grown(section) {
    this.mark();
    this.#marks();
    // Looked at anew: the observer tells of changes only.
    this.watcher.unobserve(section.more);
    if (section.complete) return;
    this.waiting.set(section.more, section);
    this.watcher.observe(section.more);
  }

  /** Mark the conversation that is open. */
  mark() {
    const { c, view } = here();
    for (const link of this.marked) link.removeAttribute("aria-current");
    this.marked = [this.known.get(c)?.link, view === "archive" && this.querySelector(".side-top a:last-child")].filter(Boolean);
    for (const link of this.marked) link.setAttribute("aria-current", "page");
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

  /** A message was sent: its conversation is the newest of its part. */
  async #asked(conversation) {
    const known = this.known.get(conversation.id);
    if (known && known.section.entries[0] === known) return;
    const updated_at = Date.now() / 1000;
    // One that was read by this page, or told of by another, may be in a folder or archived.
    const isNew = conversation.tree && conversation.updated === undefined;
    if (known) this.place({ ...known, title: known.title.textContent, updated_at });
    else if (isNew) this.place({ id: conversation.id, title: conversation.title, updated_at });
    else this.place(await get(`conversations/${conversation.id}?limit=1`).catch(() => ({ archived: true })));
  }

  #sorted(one) {
    this.place(one);
    this.#readFolders().catch(() => {});
  }

  /** Put a conversation where it belongs. The focus stays on it, or goes to the one after it. */
  place(one) {
    if (!this.others) return;
    const known = this.known.get(one.id);
    const held = known?.row.contains(document.activeElement);
    const next = held && besides(known.row);
    known?.section.drop(known);
    const section = one.archived ? null : one.pinned ? this.pinned : one.folder ? this.folders?.sectionOf(one.folder) : this.others;
    section?.insert(one);
    this.#state(one.id, this.states.get(one.id) ?? null);
    this.mark();
    this.#marks();
    if (!held) return;
    const folder = section?.folder;
    const shown = folder && !folder.isOpen ? folder.button : this.known.get(one.id)?.link;
    (shown ?? next ?? this.querySelector("a")).focus();
  }

  /** A late title changes words, never the order. */
  #titled({ id, title }) {
    const known = this.known.get(id);
    if (!known) return;
    known.title.textContent = title;
    known.row.querySelector(".act").setAttribute("aria-label", t("list.actions", { title }));
  }

  /** Hide a conversation that may come back, or show it again. */
  hide(id, is = true) {
    const known = this.known.get(id);
    if (!known) return;
    const held = known.row.contains(document.activeElement);
    known.row.hidden = is;
    if (held) (besides(known.row) ?? this.querySelector("a")).focus();
  }

  /** Take a conversation out of the list: it was deleted. */
  forget(id) {
    const known = this.known.get(id);
    known?.section.drop(known);
    if (known?.folder) this.#readFolders().catch(() => {});
  }

  #act(button) {
    if (!button) return;
    const { folder } = button.closest(".fold")?.dataset ?? {};
    const known = this.known.get(button.closest("li")?.dataset.id);
    if (folder !== undefined) folderMenu(folder, button);
    else if (known) rowMenu(this, known, button);
  }

  #context(event) {
    const button = /** @type {Element} */ (event.target).closest("li, .fold")?.querySelector(".act");
    // The browser's own menu has links; that of the keyboard opens ours.
    if (!button || event.button === 2) return;
    event.preventDefault();
    this.#act(button);
  }

  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key] * (document.documentElement.dir === "rtl" ? -1 : 1);
    if (step) return this.#aside(event, target, step);
    const rows = [.../** @type {NodeListOf<HTMLElement>} */ (this.nav.querySelectorAll(".line"))].filter((row) => !row.closest("[hidden]"));
    const at = rows.indexOf(target.closest("li, .fold")?.querySelector(".line"));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    rows[Math.max(0, Math.min(rows.length - 1, to))].focus();
  }

  /** Along a row: to its menu and back; a folder opens and closes. */
  #aside(event, target, step) {
    const row = target.closest("li, .fold");
    if (!row) return;
    event.preventDefault();
    const [line, act] = row.children;
    const isOpen = line.getAttribute("aria-expanded");
    if (target === act && step < 0) line.focus();
    else if (target === line && isOpen === String(step < 0)) line.click();
    else if (target === line && step > 0) act.focus();
  }
}

/** The link of the row after this one, or before it. */
function besides(row) {
  return (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("a");
}

function placeLink(place, picture, words, key = "") {
  return h("a.line", { href: linkTo(place) }, icon(picture), t(words), key && h("span.tail", {}, h("kbd", {}, key)));
}

customElements.define("jan-list", List);
