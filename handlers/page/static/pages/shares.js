// The reader's links to conversations.

import { get, remove } from "../api/client.js";
import { download } from "../chat/manage.js";
import { untilOf, whatOf } from "../chat/share.js";
import { button, h } from "../lib/dom.js";
import "../lib/more.js";
import { linkTo } from "../lib/router.js";
import { t } from "../lib/words.js";

const AT_ONCE = 500;

/** Return the part about shared links; `again` shows it anew. */
export async function shares(again) {
  const all = [];
  let cursor = "";
  do {
    const page = await get(`user/shares?limit=${AT_ONCE}${cursor}`);
    all.push(...page.data);
    cursor = page.next_cursor ? `&cursor=${encodeURIComponent(page.next_cursor)}` : null;
  } while (cursor);
  const rows = all.reverse().map((share) => row(share, again));
  const shown = rows.length ? h("ul.bare.gap", { "aria-labelledby": "part" }, ...rows) : h("p.dim", {}, t("share.none"));
  const save = button(t("conversation.export"), () => download(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }), "jan-shares.json"), { kind: "b.quiet.tiny", picture: "save" });
  const head = h("div.head", {}, h("h2", { id: "part" }, t("account.shares")), h("span.sp"), rows.length ? save : null);
  return [head, h("p.soft", {}, t("share.text")), shown];
}

function row(share, again) {
  const end = () => remove(`user/shares/${share.id}`).then(again);
  const title = h("a.cut", { href: linkTo({ c: share.conversation_id }), dir: "auto" }, share.title || t("list.untitled"));
  return h("li", {}, h("div.row", {}, title, h("span.sp"), button(t("share.revoke"), end, { kind: "b.quiet.tiny" })), h("div.row.wrap", {}, h("span.small.soft", {}, whatOf(share)), untilOf(share)));
}
