// Links that show a conversation to whoever has them: made, listed, revoked.

import { get, newId, post, remove } from "../api/client.js";
import { sharingOffer } from "../api/session.js";
import { openDialog } from "../lib/dialog.js";
import { button, h, icon } from "../lib/dom.js";
import { copy } from "../lib/menu.js";
import "../lib/more.js";
import { moment, span, t, wholeMoment } from "../lib/words.js";

const DAY_SECONDS = 86_400;
const DAYS = [1, 7, 30, 90, 365];
const USUAL_DAYS = 7;

/** Make links to a conversation, and see those that there are. */
export function shareConversation(conversation) {
  return openDialog(t("share"), () => {
    const made = h("div.gap", { hidden: true });
    const links = h("section.gap", { "aria-labelledby": "share-links", hidden: true });
    const list = () => showLinks(links, conversation.id);
    const done = (link) => {
      showMade(made, link);
      list();
    };
    list();
    return [h("p.soft", {}, t("share.text")), form(conversation, done), made, links];
  });
}

function form(conversation, done) {
  const path = conversation.tree.path();
  const what = select("share-what", ["branch", "whole", "later"].map((name) => [name, t(`share.${name}`)]), "branch");
  const ends = select("share-ends", lifetimes(), String(USUAL_DAYS * DAY_SECONDS));
  const system = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: "share-system" }));
  const hasSystem = path.some(({ role }) => role === "system");
  const problem = h("p.small.bad", { role: "alert", hidden: true });
  const make = async (event) => {
    event.preventDefault();
    problem.hidden = true;
    // An answer that is not stored yet has no name.
    const last = path.filter(({ live }) => !live || live.done).at(-1);
    const body = { expires_in: Number(ends.value), include_later: what.value === "later", include_system: system.checked };
    if (what.value === "branch" && last) body.message_id = last.id;
    try {
      done(await post(`conversations/${conversation.id}/shares`, body, { headers: { "Idempotency-Key": newId("key") } }));
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  const field = (name, input) => h("div.field", {}, h("label", { for: input.id }, t(name)), input);
  return h("form.gap", { onsubmit: make }, h("div.pairs", {}, field("share.what", what), field("share.ends", ends)),
    hasSystem && h("label.row", { for: "share-system" }, system, t("share.system")), problem,
    h("button.b.main", { type: "submit" }, t("share.make")));
}

/** Return lengths of time that the server allows, each with its words. */
function lifetimes() {
  const most = sharingOffer()?.max_seconds ?? DAY_SECONDS;
  const days = DAYS.filter((one) => one * DAY_SECONDS <= most);
  return days.length ? days.map((n) => [String(n * DAY_SECONDS), t("share.days", { n })]) : [[String(most), span(most)]];
}

function select(id, choices, chosen) {
  const made = /** @type {HTMLSelectElement} */ (h("select.in", { id }, ...choices.map(([value, words]) => h("option", { value }, words))));
  made.value = choices.some(([value]) => value === chosen) ? chosen : choices.at(-1)[0];
  return made;
}

/** Return the link of a secret: in the fragment, which browsers send to nobody. */
function linkOf({ fragment }) {
  return new URL(fragment, location.origin + location.pathname).href;
}

function showMade(place, share) {
  const link = linkOf(share);
  const field = /** @type {HTMLInputElement} */ (h("input.in", { id: "share-link", readonly: true, dir: "ltr", "aria-label": t("share.link") }));
  field.value = link;
  const copied = button(t("message.copy"), () => copy(link), { kind: "b.main", picture: "copy" });
  place.replaceChildren(h("div.notice.warn", {}, icon("key"), h("p", {}, t("share.once"))), h("div.row", {}, field, copied));
  place.hidden = false;
  copied.focus();
}

async function showLinks(place, conversationId) {
  const { data } = await get(`conversations/${conversationId}/shares?limit=100`).catch(() => ({ data: [] }));
  const end = async (share) => {
    await remove(`user/shares/${share.id}`);
    await showLinks(place, conversationId);
  };
  const rows = data.reverse().map((share) => h("li.row", {}, h("span", {}, whatOf(share), " ", untilOf(share)), h("span.sp"), button(t("share.revoke"), () => end(share), { kind: "b.bad.tiny" })));
  place.replaceChildren(h("h3", { id: "share-links", tabindex: -1 }, t("share.links")), h("ul.bare.gap", {}, ...rows));
  const had = place.contains(document.activeElement) || document.activeElement === document.body;
  place.hidden = !rows.length;
  if (had && rows.length) /** @type {HTMLElement} */ (place.firstElementChild).focus();
}

/** Return in words what a link shows. */
export function whatOf(share) {
  return t(share.include_later ? "share.later" : share.message_id ? "share.branch" : "share.whole");
}

/** Return in words until when a link works. */
export function untilOf(share) {
  const seconds = Date.parse(share.expires_at) / 1000;
  return h("span.dim.small", { title: wholeMoment(seconds) }, t("share.until", { day: moment(seconds) }));
}
