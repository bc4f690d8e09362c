// What stands where a conversation will be: a question, and the ways to go on with others.

import { h } from "../lib/dom.js";
import { linkTo } from "../lib/router.js";
import { t } from "../lib/words.js";
import { drafts } from "./drafts.js";

const MOST = 3;

/**
 * Make the screen of a conversation that has no message yet.
 * @param {import("../list/list.js").List} list
 * @param {boolean} isTemporary
 */
export function firstScreen(list, isTemporary) {
  const other = isTemporary
    ? h("p", {}, h("a", { href: linkTo({}) }, t("list.new")))
    : h("p", {}, h("a", { href: linkTo({ temporary: 1 }) }, t("temporary")), h("span.dim", {}, ` – ${t("temporary.short")}`));
  const lead = h("div.lead", {}, h("h2.t-h1", {}, t("first.question")), h("p", {}, t(isTemporary ? "temporary.text" : "first.privacy")));
  return h("main.first", { id: "page", tabindex: -1 }, h("div", {}, lead, isTemporary ? null : goOn(list), other));
}

/** Say with which preset a conversation begins, if with any. */
export function namePreset(main, preset) {
  if (preset) main.querySelector("div.lead")?.append(h("p", { id: "begins" }, t("preset.begins", { name: preset })));
}

/** The conversations with a draft, then the newest ones; null if there is none. */
function goOn(list) {
  const drafted = drafts().filter((id) => list.known.has(id)).slice(0, MOST);
  const newest = [...list.known.values()].filter(({ id, row }) => !drafted.includes(id) && !row.hidden).sort((one, other) => other.updated_at - one.updated_at).map(({ id }) => id);
  const shown = [...drafted, ...newest.slice(0, MOST - drafted.length)];
  const items = shown.map((id) => {
    const title = h("span.cut", { dir: "auto" }, list.known.get(id).title.textContent);
    return h("li", {}, h("a", { href: linkTo({ c: id }) }, title, drafted.includes(id) ? h("span.dim", {}, t("first.draft")) : null));
  });
  return items.length ? h("section", { "aria-labelledby": "again" }, h("h3.small.dim.pad", { id: "again" }, t("first.goOn")), h("ul.bare", {}, ...items)) : null;
}
