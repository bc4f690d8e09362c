// The reader's account: profile, usage, keys, sessions, activity, appearance, data.

import { patch } from "../api/client.js";
import { sharingOffer, whoAmI } from "../api/session.js";
import { tell } from "../lib/bus.js";
import { openDialog } from "../lib/dialog.js";
import { button, h } from "../lib/dom.js";
import "../lib/more.js";
import { linkTo } from "../lib/router.js";
import { day, t } from "../lib/words.js";
import { noticeOf } from "../chat/notices.js";

const PARTS = {
  usage: () => import("./usage.js").then((module) => module.usage),
  keys: () => import("./keys.js").then((module) => module.keys),
  sessions: () => import("./data.js").then((module) => module.sessions),
  shares: () => import("./shares.js").then((module) => module.shares),
  activity: () => import("./data.js").then((module) => module.activity),
  look: () => import("./look.js").then((module) => module.look),
  data: () => import("./data.js").then((module) => module.data),
};

/** Show a part of the account. */
export async function showAccount(frame, place) {
  const name = place.account in PARTS ? place.account : "usage";
  const person = whoAmI();
  const names = Object.keys(PARTS).filter((part) => part !== "shares" || sharingOffer());
  const links = names.map((part) => h("a", { href: linkTo({ account: part }), "aria-current": part === name ? "page" : null }, t(`account.${part}`)));
  const section = h("section.gap", { "aria-labelledby": "part" });
  const since = day(Date.parse(person.created_at) / 1000);
  const title = h("h2.t-h1", { dir: "auto" }, person.name || person.email);
  const lead = h("div.lead", {}, h("div.head", {}, title, button(t("account.rename"), () => rename(person, title, frame), { kind: "b.quiet.tiny", picture: "pen" }), h("span.sp"), button(t("account.signOut"), () => tell("sign-out"), { kind: "b.tiny" })), h("p", {}, h("bdi", {}, person.email), " · ", t("account.since", { day: since })));
  frame.showFoot(false);
  frame.showTitle(t("account"));
  frame.showMain(h("main.body", { id: "page", tabindex: -1 }, h("div.gap", {}, lead, h("nav.sub", { "aria-label": t("account") }, ...links)), section));
  const show = async () => {
    try {
      const part = await PARTS[name]();
      section.replaceChildren(...(await part(show)));
    } catch (error) {
      section.replaceChildren(h("h2", { id: "part" }, t(`account.${name}`)), noticeOf(error, { retry: show }));
    }
  };
  await show();
}

async function rename(person, title, frame) {
  const field = /** @type {HTMLInputElement} */ (h("input.in", { maxlength: 200, required: true, dir: "auto", "aria-label": t("account.name"), autocomplete: "name" }));
  field.value = person.name;
  const name = await openDialog(t("account.rename"), (close) => [
    h("form.gap", { onsubmit: (event) => (event.preventDefault(), close(field.value.trim())) }, field, h("button.b.main", { type: "submit" }, t("save"))),
  ]);
  if (!name || name === person.name) return;
  Object.assign(person, await patch("user/profile", { name }));
  title.textContent = person.name;
  frame.showPerson(person);
}

/** Make a table that scrolls in its own box. */
export function table(label, heads, rows, kind = "div.scroll") {
  const head = h("tr", {}, ...heads.map((words) => (words ? h(words.n ? "th.n" : "th", { scope: "col" }, words.n ?? words) : h("td"))));
  return h(kind, { tabindex: 0, role: "group", "aria-label": label }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
}

const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

/** Make a table whose rows become cards in a narrow window. Its roles say what it is there too. */
export function cards(label, heads, rows) {
  const box = table(label, heads, rows, "div.scroll.cards");
  for (const element of box.querySelectorAll("table, thead, tbody, tr, td")) element.setAttribute("role", ROLES[element.tagName]);
  for (const element of box.querySelectorAll("th")) element.setAttribute("role", element.scope === "row" ? "rowheader" : "columnheader");
  for (const row of rows) [...row.cells].forEach((cell, index) => (cell.dataset.label = heads[index]?.n ?? heads[index] ?? ""));
  return box;
}
