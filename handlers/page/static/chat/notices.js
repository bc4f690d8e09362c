// What keeps a message from being answered: what it is, until when, and what can be done.

import { Offline } from "../api/client.js";
import { button, h, icon } from "../lib/dom.js";
import { linkTo } from "../lib/router.js";
import { clock, span, t } from "../lib/words.js";

/**
 * Make the notice of an error. `acts`: retry, otherModel, fresh; `offers`: buttons for what is too long.
 * @param {any} error
 * @param {Record<string, any>} acts
 */
export function noticeOf(error, acts) {
  const act = (words, call, kind = "b.tiny") => call && button(words, call, { kind });
  if (error instanceof Offline) return notice("off", "", t("offline.title"), t("offline.text"), [act(t("retry"), acts.retry)]);
  if (error.status === 429) return limit(error, acts, act);
  if (error.code === "context_length_exceeded")
    return notice("alert", "warn", t("long.title"), `${error.message} ${t("long.text")}`, acts.offers ?? [act(t("long.model"), acts.otherModel)]);
  if (error.status === 503) return notice("alert", "bad", t("busy.title"), error.message, [act(t("retry"), acts.retry), act(t("long.model"), acts.otherModel, "b.quiet.tiny")]);
  if (error.status === 404) return notice("info", "", t("gone.title"), t("gone.text"), [act(t("list.new"), acts.fresh)]);
  return notice("alert", "bad", t("wrong.title"), error.message ?? String(error), [act(t("retry"), acts.retry)]);
}

function limit(error, acts, act) {
  const { seconds } = error;
  const until = seconds === null ? "" : t("limit.until", { time: clock(Date.now() / 1000 + seconds), span: span(seconds) });
  const text = `${error.message} ${until} ${t("limit.text")}`;
  return notice("clock", "warn", t("limit.title"), text, [act(t("retry"), acts.retry), h("a.b.quiet.tiny", { href: linkTo({ account: "usage" }) }, t("limit.usage"))]);
}

/** Make the notice of a file that can not be added. */
export function fileNotice(problem) {
  const words = problem.code in { size: 1, kind: 1, tooLong: 1 } ? t(`files.${problem.code}`) : problem.message;
  return notice("clip", "warn", t("files.not"), words);
}

/** Make a notice. `kind`: "", "warn" or "bad", which is an alert. */
export function notice(picture, kind, title, text, buttons = []) {
  const row = buttons.filter(Boolean);
  return h(kind ? `div.notice.${kind}` : "div.notice", { role: kind === "bad" ? "alert" : "status" }, icon(picture), h("h3", {}, title), h("p", {}, text), row.length && h("div.row.wrap", {}, ...row));
}
