// The summary that a conversation begins with: how it is known, and what is said of it.

import { h } from "../lib/dom.js";
import { linkTo } from "../lib/router.js";
import { t } from "../lib/words.js";
import { textOf } from "./tree.js";

/** How the server begins the message that a summary becomes. */
const HEAD = "Summary of the conversation so far:\n\n";
const KEY = "summary_of";

/** Return what a conversation remembers of the one that was summed up: its id, how many messages, how many did not fit. */
export function summaryMetadata(id, count, left) {
  return { [KEY]: `${id} ${count} ${left}` };
}

/** Return the summary that a message is, else null. */
export function summaryIn(message) {
  const text = message.role === "user" ? textOf(message) : "";
  return text.startsWith(HEAD) ? text.slice(HEAD.length) : null;
}

/** Make the note that says what the model does not read, with a link to it. */
export function summaryNote({ metadata }) {
  const [id, count, left] = (metadata[KEY] ?? "").split(" ");
  if (!id) return null;
  const words = [t("summary.instead", { n: Number(count) || 0 }), Number(left) ? t("summary.left", { n: Number(left) }) : ""].join(" ");
  return h("p.small.soft", {}, words, " ", h("a", { href: linkTo({ c: id }) }, t("summary.whole")));
}
