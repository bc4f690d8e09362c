// Searching all conversations.

import { get } from "../api/client.js";
import { noticeOf } from "../chat/notices.js";
import { h, icon } from "../lib/dom.js";
import { linkTo, rename } from "../lib/router.js";
import { moment, t } from "../lib/words.js";

const PAUSE_MS = 200;

/** Show the page of the search. */
export function showSearch(frame, place) {
  const off = new AbortController();
  const field = /** @type {HTMLInputElement} */ (h("input.in", { type: "search", "aria-label": t("search.field"), placeholder: t("search.field"), autocomplete: "off" }));
  field.value = place.search ?? "";
  const said = h("p.note.dim", { role: "status" });
  const hits = h("ol.hits.bare");
  let timer = 0;
  let turn = 0;
  const look = async () => {
    const words = field.value.trim();
    const own = ++turn;
    rename({ search: words });
    if (!words) return hits.replaceChildren(), (said.textContent = "");
    try {
      const { data, has_more: more } = await get(`conversations?limit=50&q=${encodeURIComponent(words)}`, { signal: off.signal });
      if (own !== turn) return;
      hits.replaceChildren(...data.map((one) => hit(one, words)));
      said.textContent = data.length ? t(more ? "search.most" : "search.found", { n: data.length }) : t("search.none", { words });
    } catch (error) {
      if (!off.signal.aborted) hits.replaceChildren(h("li", {}, noticeOf(error, { retry: look })));
    }
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE_MS);
  });
  const form = h("form.gap", { role: "search", onsubmit: (event) => (event.preventDefault(), look()) }, h("div.seek", {}, icon("search"), field), said);
  form.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") hits.querySelector("a")?.focus();
  });
  hits.addEventListener("keydown", (event) => move(event, hits, field));
  frame.showFoot(false);
  frame.showTitle(t("list.search"));
  frame.showMain(h("main.body.slim", { id: "page", tabindex: -1 }, form, hits));
  field.focus();
  look();
  return () => off.abort();
}

function move(event, hits, field) {
  const links = [...hits.querySelectorAll("a")];
  const at = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || at < 0) return;
  event.preventDefault();
  (links[at + step] ?? (step < 0 ? field : links[at])).focus();
}

function hit(one, words) {
  const count = h("p.note.dim", {}, [moment(one.updated_at), one.model, t("search.messages", { n: one.message_count })].filter(Boolean).join(" · "));
  return h("li", {}, h("h2", {}, h("a", { href: linkTo({ c: one.id }), dir: "auto" }, ...marked(one.title || t("list.untitled"), words))), count);
}

/** Return a text in pieces, with what was looked for marked. */
export function marked(text, words) {
  const at = text.toLowerCase().indexOf(words.toLowerCase());
  if (at < 0 || text.toLowerCase().length !== text.length) return [text];
  return [text.slice(0, at), h("mark", {}, text.slice(at, at + words.length)), text.slice(at + words.length)];
}
