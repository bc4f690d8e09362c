// The block that is being written, in the form that it will have: the server's HTML comes when it is finished.
// Everything here is elements and text; marks that have begun and not ended are not shown.

import { h } from "../lib/dom.js";
import { t } from "../lib/words.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\n`]*)(?:\n|$)/;
const HEADING = /^ {0,3}(#{1,6})(?: +(.*)|$)/s;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])(?: +(.*)|$)/;
const INLINE = /`([^`]+)`?|\*\*([^*]+)(?:\*\*?|$)|(\*\*|`+$|\*$)/g;

/** Make the elements of a text that may go on. */
export function openBlock(text) {
  const whole = text.replace(/^\n+/, "");
  if (!whole) return [];
  const fence = FENCE.exec(whole);
  if (fence) return [codeOf(fence[2].trim(), whole.slice(fence[0].length), fence[1])];
  const heading = HEADING.exec(whole);
  if (heading) return [h(`h${Math.min(6, heading[1].length + 1)}`, {}, ...inline(heading[2] ?? ""))];
  const lines = whole.split("\n");
  if (lines[0].startsWith("|")) return [tableOf(lines)];
  if (ITEM.test(lines[0])) return [listOf(lines)];
  if (lines[0].startsWith(">")) return [h("blockquote", {}, h("p.raw", {}, ...inline(lines.map((line) => line.replace(/^> ?/, "")).join("\n"))))];
  return [h("p.raw", { dir: "auto" }, ...inline(whole))];
}

function codeOf(language, rest, mark) {
  const code = rest.replace(new RegExp(`\\n? {0,3}${mark[0]}{1,${mark.length}}$`), "");
  const name = language.split(" ")[0];
  return h("figure.code", {}, h("figcaption", {}, h("span", {}, name)), h("pre", { tabindex: 0, role: "group", "aria-label": name || t("code") }, h("code", {}, code)));
}

function tableOf(lines) {
  const cells = (line) => line.replace(/^\||\|\s*$/g, "").split("|").map((cell) => cell.trim());
  const [head, , ...rows] = lines.filter((line) => line.trim());
  const row = (name, line) => h("tr", {}, ...cells(line).map((cell) => h(name, name === "th" ? { scope: "col" } : {}, ...inline(cell))));
  return h("div.scroll", {}, h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, ...rows.map((line) => row("td", line)))));
}

function listOf(lines) {
  const isOrdered = ITEM.exec(lines[0])[2] !== undefined;
  const items = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found) items.push(found[3] ?? "");
    else if (items.length && line.trim()) items[items.length - 1] += `\n${line.trim()}`;
  }
  const start = isOrdered ? { start: ITEM.exec(lines[0])[2] } : {};
  return h(isOrdered ? "ol" : "ul", { dir: "auto", ...start }, ...items.map((item) => h("li", {}, ...inline(item))));
}

/** Split a line into text, code and strong text. */
function inline(text) {
  const made = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > at) made.push(text.slice(at, found.index));
    if (found[1]) made.push(h("code", {}, found[1]));
    else if (found[2]) made.push(h("strong", {}, found[2]));
    at = found.index + found[0].length;
  }
  made.push(text.slice(at));
  return made.filter(Boolean);
}
