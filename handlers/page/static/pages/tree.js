// All branches of a conversation.

import { noticeOf } from "../chat/notices.js";
import { Conversation } from "../chat/conversation.js";
import { textOf } from "../chat/tree.js";
import { showMarkdown } from "../chat/render.js";
import { button, h, icon, svg } from "../lib/dom.js";
import "../lib/more.js";
import { go, linkTo } from "../lib/router.js";
import { moment, t } from "../lib/words.js";

const STEP = 16;
const LEFT = 9;
const HIGH = 34;
const LETTERS = 120;

/** Show the tree of a conversation. */
export async function showTree(frame, place) {
  const conversation = new Conversation(place.c);
  frame.showFoot(false);
  frame.showTitle(t("tree"), [h("a.b.quiet.icon", { href: linkTo({ c: place.c }), "aria-label": t("close"), title: t("close") }, icon("x"))]);
  const main = h("main.body", { id: "page", tabindex: -1 });
  frame.showMain(main);
  try {
    await conversation.load();
    await conversation.loadAll();
  } catch (error) {
    main.replaceChildren(noticeOf(error, { retry: () => showTree(frame, place) }));
    return;
  }
  frame.showTitle(conversation.title || t("list.untitled"), [...frame.buttons.children]);
  if (place.m && conversation.tree.messages.has(place.m)) conversation.tree.choose(place.m);
  new TreeView(main, conversation).show();
}

class TreeView {
  constructor(main, conversation) {
    this.main = main;
    this.conversation = conversation;
    this.tree = conversation.tree;
    this.aside = h("aside", { "aria-label": t("tree.chosen") });
  }

  show() {
    const { tree } = this;
    const rows = this.#rows();
    const leaves = [...tree.messages.keys()].filter((id) => !tree.children.get(id)?.length).length;
    this.path = new Set(tree.path().map(({ id }) => id));
    this.items = rows.map((row) => this.#item(row));
    const list = h("ul.tree", { role: "tree", "aria-label": t("tree.all") }, ...this.items);
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("click", (event) => this.#choose(/** @type {Element} */ (event.target).closest("[role=treeitem]")));
    list.addEventListener("focusin", (event) => this.#tell(event.target));
    this.main.replaceChildren(
      h("div.lead", {}, h("h2", {}, `${t("search.messages", { n: tree.size })}, ${t("tree.branches", { n: leaves })}`), h("p", {}, t("tree.lead"))),
      h("div.split", {}, h("div.gap", {}, list), this.aside));
    const now = this.items.find((item) => item.dataset.id === tree.leaf?.id) ?? this.items[0];
    if (!now) return;
    now.tabIndex = 0;
    now.setAttribute("aria-current", "true");
    now.focus({ preventScroll: true });
  }

  /** Messages in the order of the tree, each with the columns that lines run through. */
  #rows() {
    const rows = [];
    const visit = (id, level, column, through) => {
      const below = this.tree.children.get(id) ?? [];
      const sorted = below.length > 1 ? [...below].sort((one, other) => this.tree.chosen.get(id) === one ? 1 : this.tree.chosen.get(id) === other ? -1 : 0) : below;
      sorted.forEach((child, index) => {
        const last = index === sorted.length - 1;
        const own = last ? column : column + 1;
        const lines = last ? through : [...through, column];
        const message = this.tree.messages.get(child);
        const tops = level ? (last ? [column] : [column, own]) : [];
        rows.push({ message, level: level + 1, column: own, through: lines, tops, index: index + 1, all: sorted.length, below: Boolean(this.tree.children.get(child)?.length) });
        visit(child, level + 1, own, lines);
      });
    };
    visit(null, 0, 0, []);
    return rows;
  }

  #item({ message, level, column, through, index, all, below }) {
    const on = this.path.has(message.id);
    const text = textOf(message).slice(0, LETTERS) || t(`end.${message.status === "failed" ? "failed" : "stopped"}`);
    const who = message.role === "user" ? h("b", {}, `${t("you")} `) : h("span.hide", {}, `${message.model ?? t("answer")}: `);
    const note = message.role === "user" ? moment(message.created_at) : (message.model ?? "");
    const item = h(on ? "li.node.on" : "li.node", { role: "treeitem", "aria-level": level, "aria-posinset": index, "aria-setsize": all, "aria-selected": String(on), tabindex: -1 },
      rail(message, { column, through, on, level, below, branches: index < all }), h("span.cut", { dir: "auto" }, who, text), h("span.note.wide-only", {}, note));
    item.dataset.id = message.id;
    return item;
  }

  #key(event) {
    const at = this.items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (at < 0) return;
    const rtl = document.documentElement.dir === "rtl";
    const key = rtl ? ({ ArrowLeft: "ArrowRight", ArrowRight: "ArrowLeft" }[event.key] ?? event.key) : event.key;
    const level = Number(this.items[at].ariaLevel);
    const parent = () => this.items.findLastIndex((item, index) => index < at && Number(item.ariaLevel) < level);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.items.length - 1, ArrowLeft: parent(), ArrowRight: Number(this.items[at + 1]?.ariaLevel) > level ? at + 1 : at }[key];
    if (event.key === "Enter") this.#read(this.items[at].dataset.id);
    else if (to === undefined) return;
    else this.#choose(this.items[Math.max(0, Math.min(this.items.length - 1, to))]);
    event.preventDefault();
  }

  #choose(item) {
    if (!item) return;
    for (const other of this.items) other.tabIndex = other === item ? 0 : -1;
    item.focus();
  }

  #tell(item) {
    const message = this.tree.messages.get(item.dataset.id);
    if (!message) return;
    const text = h("div.text.t-read", { dir: "auto" });
    if (message.role === "user") text.append(h("p.raw", {}, textOf(message)));
    else showMarkdown(text, textOf(message));
    const facts = [message.role === "user" ? t("you") : message.model, moment(message.created_at), message.usage && t("tokens", { n: message.usage.completion_tokens })].filter(Boolean).join(" · ");
    this.aside.replaceChildren(h("div.gap", {}, h("p.note.dim", {}, facts), text), h("div.row.wrap", {}, button(t("tree.read"), () => this.#read(message.id), { kind: "b.main" })));
  }

  #read(id) {
    go({ c: this.conversation.id, m: id });
  }
}

/** Draw the lines of a row: those that run by, and the one to its own point. */
function rail(message, { column, through, on, level, below, branches }) {
  const x = (at) => LEFT + STEP * at;
  const wide = x(Math.max(column, ...through)) + LEFT + 2;
  const mark = on ? { class: "on" } : {};
  const lines = through.filter((at) => at !== column).map((at) => svg("path", { d: `M${x(at)} 0V${HIGH}` }));
  if (level > 1) lines.push(svg("path", { ...mark, d: branches ? `M${x(column - 1)} 0C${x(column - 1)} 17 ${x(column - 1) + 4} 17 ${x(column)} 17` : `M${x(column)} 0V17` }));
  if (below) lines.push(svg("path", { ...mark, d: `M${x(column)} 17V${HIGH}` }));
  const dot = [on && "on", message.role !== "user" && "a"].filter(Boolean).join(" ");
  return svg("svg", { class: "rail", width: wide, height: HIGH, viewBox: `0 0 ${wide} ${HIGH}`, "aria-hidden": "true" }, ...lines, svg("circle", { class: dot, cx: x(column), cy: 17, r: 4.5 }));
}
