// What the page adds to the server's HTML: buttons at code and formulas.

import { button, h, iconButton } from "../lib/dom.js";
import { copy } from "../lib/menu.js";
import { t } from "../lib/words.js";

/** Add the buttons to all code and formulas within an element. */
export function decorate(element) {
  for (const figure of element.querySelectorAll("figure.code:not(.has-buttons)")) addToCode(figure);
  for (const sum of element.querySelectorAll("div.sum:not(.has-buttons)")) addToFormula(sum);
  for (const note of element.querySelectorAll("sup[data-note]")) linkNote(note, element);
}

function addToCode(figure) {
  figure.classList.add("has-buttons");
  const [head, pre] = figure.children;
  const wrap = iconButton("wrapl", t("code.wrap"), () => {
    const is = figure.classList.toggle("wraps");
    wrap.setAttribute("aria-pressed", String(is));
  }, { "aria-pressed": "false" });
  const lines = Number(figure.dataset.lines);
  head.append(h("span.wide-only", {}, t("code.lines", { n: lines })), h("span.sp"), wrap, button(t("message.copy"), () => copy(pre.textContent), { kind: "b.quiet.tiny", picture: "copy" }));
  if (!pre.ariaLabel) pre.setAttribute("aria-label", t("code"));
}

function addToFormula(sum) {
  sum.classList.add("has-buttons");
  sum.tabIndex = 0;
  sum.setAttribute("role", "group");
  sum.setAttribute("aria-label", t("formula"));
  const tex = sum.querySelector("math")?.dataset.tex;
  if (tex) sum.append(iconButton("copy", t("formula.copy"), () => copy(tex)));
}

/** A number of a note leads to it. */
function linkNote(note, element) {
  if (note.firstElementChild) return;
  const words = note.textContent;
  const go = () => {
    const target = element.querySelector(`li[data-note="${note.dataset.note}"]`);
    target?.setAttribute("tabindex", "-1");
    target?.focus();
  };
  note.replaceChildren(button(words, go, { kind: "note-link", "aria-label": t("note", { n: Number(words) }) }));
}
