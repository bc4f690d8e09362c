// API keys: made, used, renamed, rotated, revoked.

import { apiUrl, get, newId, patch, post, remove, serverUrl } from "../api/client.js";
import { models } from "../api/models.js";
import { openDialog, sure } from "../lib/dialog.js";
import { button, h, icon, iconButton } from "../lib/dom.js";
import { copy, openMenu } from "../lib/menu.js";
import "../lib/more.js";
import { listed, moment, number, t } from "../lib/words.js";
import { cards } from "./account.js";
import { snippets } from "./snippets.js";

const PERMISSIONS = ["read", "write", "inference", "keys"];

/** Return the content of the part; `again` shows it anew. */
export async function keys(again) {
  const { data } = await get("user/api-keys?limit=100");
  const live = data.filter((key) => !key.revoked_at && !key.replaced_by);
  const rows = live.reverse().map((key) => row(key, again));
  const head = h("div.head", {}, h("h2", { id: "part" }, t("account.keys")), h("span.sp"), button(t("keys.make"), () => make(again), { kind: "b.main", picture: "plus" }));
  const heads = [t("keys.name"), t("keys.prefix"), t("keys.may"), { n: t("keys.budget") }, t("keys.used"), t("keys.ends"), null];
  return [head, rows.length ? cards(t("account.keys"), heads, rows) : h("p.dim", {}, t("keys.none"))];
}

function row(key, again) {
  const at = (time) => (time ? moment(Date.parse(time) / 1000) : "");
  const more = iconButton("more", t("more"), () => openMenu(more, entries(key, again)), { "aria-haspopup": "menu" });
  const ended = key.expires_at && Date.parse(key.expires_at) < Date.now();
  return h("tr", {}, h("th", { scope: "row", dir: "auto" }, key.name), h("td", {}, h("code", { dir: "ltr" }, `${key.prefix}…`)),
    h("td", {}, listed(key.permissions.map((name) => t(`keys.may.${name}`)))),
    h("td.n", {}, key.tokens_per_day ? number(key.tokens_per_day) : t("keys.asMine")),
    h("td", {}, at(key.last_used_at) || t("keys.never")), h(ended ? "td.warn" : "td", {}, at(key.expires_at) || "–"), h("td", {}, more));
}

function entries(key, again) {
  const act = (work) => () => work().then(again);
  return [
    { words: t("keys.rename"), picture: "pen", act: act(() => rename(key)) },
    { words: t("keys.rotate"), picture: "again", act: act(() => rotate(key)) },
    { words: t("keys.revoke"), picture: "bin", bad: true, act: act(() => revoke(key)) },
  ];
}

async function rename(key) {
  const field = /** @type {HTMLInputElement} */ (h("input.in", { maxlength: 200, required: true, dir: "auto", "aria-label": t("keys.name") }));
  field.value = key.name;
  const name = await openDialog(t("keys.rename"), (close) => [
    h("form.gap", { onsubmit: (event) => (event.preventDefault(), close(field.value.trim())) }, field, h("button.b.main", { type: "submit" }, t("save"))),
  ]);
  if (name && name !== key.name) await patch(`user/api-keys/${key.id}`, { name });
}

async function rotate(key) {
  if (!(await sure(t("keys.rotate"), t("keys.rotateText", { name: key.name }), t("keys.rotate")))) return;
  await showSecret(await post(`user/api-keys/${key.id}/rotate`, {}, { headers: { "Idempotency-Key": newId("key") } }));
}

async function revoke(key) {
  if (await sure(t("keys.revoke"), t("keys.revokeText", { name: key.name }), t("keys.revoke"))) await remove(`user/api-keys/${key.id}`);
}

async function make(again) {
  const name = /** @type {HTMLInputElement} */ (h("input.in", { id: "key-name", maxlength: 200, required: true, dir: "auto" }));
  const boxes = PERMISSIONS.map((value) => {
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", value, id: `may-${value}` }));
    box.checked = value === "inference";
    return box;
  });
  const budget = /** @type {HTMLInputElement} */ (h("input.in", { id: "key-budget", type: "number", min: 1, step: 1, inputmode: "numeric", placeholder: t("keys.asMine") }));
  const end = /** @type {HTMLInputElement} */ (h("input.in", { id: "key-end", type: "date", min: new Date().toISOString().slice(0, 10) }));
  const problem = h("p.small.bad", { role: "alert", hidden: true });
  const made = await openDialog(t("keys.make"), (close) => [
    h("form.gap4", {
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          close(await post("user/api-keys", bodyOf(name, boxes, budget, end), { headers: { "Idempotency-Key": newId("key") } }));
        } catch (error) {
          problem.textContent = error.message;
          problem.hidden = false;
        }
      },
    },
    h("div.field", {}, h("label", { for: "key-name" }, t("keys.name")), name),
    h("fieldset.field", {}, h("legend.label", {}, t("keys.may")), h("div.gap", {}, ...boxes.map(choice))),
    h("div.pairs", {}, h("div.field", {}, h("label", { for: "key-budget" }, t("keys.budget")), budget), h("div.field", {}, h("label", { for: "key-end" }, t("keys.ends")), end)),
    problem, h("div.row", {}, h("button.b.main", { type: "submit" }, t("keys.make")))),
  ]);
  if (made) {
    await showSecret(made);
    again();
  }
}

/** A permission, and what it is for. */
function choice(box) {
  const about = `about-${box.value}`;
  box.setAttribute("aria-describedby", about);
  return h("div.choice", {}, h("label.row", { for: box.id }, box, t(`keys.may.${box.value}`)), h("p.note.dim", { id: about }, t(`keys.about.${box.value}`)));
}

function bodyOf(name, boxes, budget, end) {
  const body = { name: name.value.trim(), permissions: boxes.filter((box) => box.checked).map((box) => box.value) };
  if (budget.value) body.tokens_per_day = Number(budget.value);
  if (end.value) body.expires_at = new Date(`${end.value}T23:59:59`).toISOString();
  return body;
}

/** Show the key once, and how to use it. */
async function showSecret({ key }) {
  const model = (await models().catch(() => []))[0]?.id ?? "model";
  const all = snippets({ key, model, api: apiUrl("").href.replace(/\/$/, ""), server: serverUrl("").href.replace(/\/$/, "") });
  const code = h("code");
  const shown = h("pre", { tabindex: 0, role: "group", "aria-label": t("keys.use") }, code);
  const tabs = Object.keys(all).map((name) => button(name, () => choose(name), { kind: "b.tiny", "aria-pressed": "false" }));
  const choose = (name) => {
    code.textContent = all[name];
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.textContent === name));
  };
  choose(Object.keys(all)[0]);
  await openDialog(t("keys.made"), () => [
    h("div.notice.warn", {}, icon("key"), h("p", {}, t("keys.once"))),
    h("div.row.wrap", {}, h("code.secret", { dir: "ltr" }, key), h("span.sp"), button(t("message.copy"), () => copy(key), { kind: "b.main", picture: "copy" })),
    h("h3", {}, t("keys.use")), h("div.row.wrap", {}, ...tabs),
    h("figure.code", {}, h("figcaption", {}, h("span.sp"), button(t("message.copy"), () => copy(code.textContent), { kind: "b.quiet.tiny", picture: "copy" })), shown),
  ]);
}
