// Sessions, activity, and all that the server has of a person.

import { get, post, remove, send } from "../api/client.js";
import { whoAmI } from "../api/session.js";
import { download } from "../chat/manage.js";
import { tell } from "../lib/bus.js";
import { openDialog, sure } from "../lib/dialog.js";
import { button, h } from "../lib/dom.js";
import "../lib/more.js";
import { moment, number, t, wholeMoment } from "../lib/words.js";
import { cards } from "./account.js";

/** Return the part about sessions. */
export async function sessions(again) {
  const everywhere = button(t("sessions.endAll"), async () => {
    if (!(await sure(t("sessions.endAll"), t("sessions.endAllText"), t("sessions.endAll")))) return;
    await post("auth/logout-everywhere");
    tell("sign-out");
  }, { kind: "b.bad.tiny" });
  const { data: all } = await get("user/sessions?limit=100");
  const rows = all.reverse().map((session) => sessionRow(session, again));
  const head = h("div.head", {}, h("h2", { id: "part" }, t("account.sessions")), h("span.sp"), everywhere);
  const heads = [t("sessions.where"), t("sessions.begun"), t("sessions.seen"), t("sessions.ends"), null];
  return [head, h("p.soft", {}, t("sessions.lead")), rows.length ? cards(t("account.sessions"), heads, rows) : null].filter(Boolean);
}

function sessionRow(session, again) {
  const at = (time) => h("td.nw", { title: wholeMoment(Date.parse(time) / 1000) }, moment(Date.parse(time) / 1000));
  const end = async () => {
    await remove(`user/sessions/${session.id}`);
    if (session.current) tell("sign-out");
    else again();
  };
  const name = h("th", { scope: "row" }, h("bdi", {}, session.device || t("sessions.program")), " ", session.current && h("span.tag", {}, t("sessions.this")));
  return h("tr", {}, name, at(session.created_at), at(session.last_used_at), at(session.expires_at), h("td", {}, button(t("sessions.end"), end, { kind: "b.quiet.tiny" })));
}

/** Return the part about what was done with the account. */
export async function activity() {
  const { data } = await get("user/audit?limit=100");
  const rows = data.map((act) => h("tr", {}, h("th", { scope: "row", title: act.act }, wordsOf(act)), h("td", {}, wholeMoment(Date.parse(act.created_at) / 1000)), h("td", {}, h("bdi", {}, act.address ?? "–"))));
  return [h("h2", { id: "part" }, t("account.activity")), h("p.soft", {}, t("activity.lead")), cards(t("account.activity"), [t("activity.what"), t("activity.when"), t("activity.from")], rows)];
}

/** Say what was done. An act that this page does not know keeps its code. */
function wordsOf({ act, count }) {
  const name = `activity.act.${act}`;
  const words = t(`activity.act.${act}`);
  return `${words === name ? act : words}${count > 1 ? ` (${number(count)})` : ""}`;
}

/** Return the part about taking data away, and leaving. */
export async function data() {
  const said = h("p.note.dim", { role: "status" });
  const all = button(t("data.export"), () => exportAll(said), { picture: "save" });
  const presets = button(t("data.presets"), exportPresets, { kind: "b.quiet", picture: "save" });
  const leave = button(t("data.delete"), deleteAccount, { kind: "b.bad", picture: "bin" });
  return [
    h("h2", { id: "part" }, t("account.data")),
    h("p.soft", {}, t("data.exportText")), h("div.row.wrap", {}, all, presets, said),
    h("h3", {}, t("data.import")), h("p.soft", {}, t("data.importText")), ...importing(),
    h("h3", {}, t("data.delete")), h("p.soft", {}, t("data.deleteText")), h("div.row", {}, leave),
  ];
}

function importing() {
  const shown = h("div.gap");
  const choose = async () => {
    const { importFiles } = await import("./imports.js");
    await importFiles([...input.files], shown);
    input.value = "";
    tell("imported");
  };
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "file", multiple: true, accept: ".json,.jsonl", hidden: true, onchange: choose, "aria-label": t("data.import") }));
  return [h("div.row", {}, button(t("data.importDo"), () => input.click(), { picture: "plus" }), input), shown];
}

async function exportAll(said) {
  const lines = [];
  let cursor = null;
  let count = 0;
  do {
    const page = await get(`conversations?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    for (const { id } of page.data) {
      lines.push(await (await send("GET", `conversations/${id}/export`)).text());
      said.textContent = t("data.count", { n: ++count });
    }
    cursor = page.next_cursor;
  } while (cursor);
  download(new Blob(lines, { type: "application/jsonl" }), "jan-conversations.jsonl");
}

async function exportPresets() {
  const { readPresets } = await import("../chat/presets.js");
  download(new Blob([JSON.stringify(await readPresets(), null, 2)], { type: "application/json" }), "jan-presets.json");
}

async function deleteAccount() {
  const { email } = whoAmI();
  const field = /** @type {HTMLInputElement} */ (h("input.in", { id: "sure", autocomplete: "off", spellcheck: "false" }));
  const problem = h("p.small.bad", { role: "alert", hidden: true });
  const gone = await openDialog(t("data.delete"), (close) => [
    h("form.gap", {
      onsubmit: async (event) => {
        event.preventDefault();
        if (field.value.trim() !== email) return field.focus();
        try {
          await remove("user/profile");
          close(true);
        } catch (error) {
          problem.textContent = error.message;
          problem.hidden = false;
        }
      },
    }, h("p.soft", {}, t("data.deleteText")), h("div.field", {}, h("label", { for: "sure" }, t("data.type", { email })), field), problem, h("div.row", {}, h("button.b.bad", { type: "submit" }, t("data.delete")))),
  ]);
  if (gone) tell("sign-out");
}
