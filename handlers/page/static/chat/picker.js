// Choosing a model: those used lately first, found by typing.

import { lately, models } from "../api/models.js";
import { h, icon } from "../lib/dom.js";
import "../lib/more.js";
import { percent, short, t } from "../lib/words.js";

/** How often a list is read again in which a model loads. */
const LOOK_MS = 1000;

/** Open the list of models above a button; returns the chosen one, or undefined. */
export function openPicker(opener, current) {
  return new Promise((resolve) => {
    let chosen;
    let early = false;
    const list = h("div", { role: "listbox", "aria-label": t("model.all"), id: "model-list" });
    const field = /** @type {HTMLInputElement} */ (h("input.in", { type: "search", placeholder: t("model.find"), "aria-label": t("model.find"), role: "combobox", "aria-expanded": "true", "aria-controls": "model-list", autocomplete: "off" }));
    const pop = h("div.pop.models", { popover: "auto", role: "dialog", "aria-label": t("model.choose", { model: "" }) }, h("div.seek", {}, icon("search"), field), list);
    const choose = (model) => {
      chosen = model;
      pop.hidePopover();
    };
    let active = null;
    const mark = (row) => {
      active?.classList.remove("is-on");
      active = row;
      row?.classList.add("is-on");
      row?.scrollIntoView({ block: "nearest" });
      if (row) field.setAttribute("aria-activedescendant", row.id);
      else field.removeAttribute("aria-activedescendant");
    };
    const fill = (all) => {
      const words = field.value.trim().toLowerCase();
      const found = all.filter(({ id }) => id.toLowerCase().includes(words));
      const used = lately().map((id) => found.find((model) => model.id === id)).filter(Boolean);
      const rest = found.filter((model) => !used.includes(model));
      list.replaceChildren(...group(used.length ? t("model.lately") : "", used, current, choose), ...group(used.length && rest.length ? t("model.others") : "", rest, current, choose));
      if (!found.length) list.append(h("p.note.dim", {}, t("model.noneFound")));
      mark(list.querySelector("[role=option]"));
    };
    field.addEventListener("keydown", (event) => {
      const rows = [...list.querySelectorAll("[role=option]")];
      const to = { ArrowDown: rows.indexOf(active) + 1, ArrowUp: rows.indexOf(active) - 1 }[event.key];
      if (to !== undefined && rows.length) mark(rows[(to + rows.length) % rows.length]);
      else if (event.key === "Enter" && !active) early = list.childElementCount === 0;
      else if (event.key === "Enter") /** @type {HTMLElement} */ (active).click();
      else return;
      event.preventDefault();
    });
    pop.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
      opener.setAttribute("aria-expanded", "false");
      pop.remove();
      resolve(chosen);
    });
    (opener.closest("main, .foot") ?? document.body).append(pop);
    pop.showPopover();
    opener.setAttribute("aria-expanded", "true");
    place(pop, opener);
    field.focus();
    let all = null;
    field.addEventListener("input", () => all && fill(all));
    const read = async () => {
      all = await models(true);
      fill(all);
      if (all.some(({ loading }) => loading !== undefined)) setTimeout(() => pop.isConnected && read().catch(() => {}), LOOK_MS);
    };
    read().then(() => early && active?.click(), () => list.replaceChildren(h("p.note.dim", {}, t("model.unknown"))));
  });
}

function place(pop, opener) {
  const at = opener.getBoundingClientRect();
  const rtl = document.documentElement.dir === "rtl";
  if (at.top > innerHeight / 2) pop.style.bottom = `${innerHeight - at.top + 8}px`;
  else pop.style.top = `${at.bottom + 8}px`;
  pop.style[rtl ? "right" : "left"] = `${Math.max(8, rtl ? innerWidth - at.right : at.left)}px`;
}

function group(title, some, current, choose) {
  if (!some.length) return [];
  const rows = some.map((model) => row(model, current, choose));
  return title ? [h("div", { role: "group", "aria-label": title }, h("p.over", { "aria-hidden": "true" }, title), ...rows)] : rows;
}

/** Say if a model is loaded, or how far it is. */
function stateOf({ loaded, loading }) {
  if (loaded) return [h("span.dot.good"), t("model.ready")];
  if (loading === undefined) return [h("span.dot.none"), t("model.asleep")];
  return [h("span.dot.busy"), t("model.loading", { part: percent(loading) })];
}

function row(model, current, choose) {
  const abilities = [
    model.demo && t("model.demo"),
    model.context && t("model.context", { size: short(model.context) }),
    model.tools && t("model.tools"),
    model.reasoning && t("model.reasoning"),
  ].filter(Boolean);
  const is = model.id === current;
  return h("div.model", { role: "option", id: `model-${model.id}`, "aria-selected": String(is), onclick: () => choose(model) },
    h("span.row", {}, h("b.cut", {}, model.id), is && icon("check")),
    h("span.row.end", {}, ...stateOf(model)),
    h("span.note", {}, abilities.join(" · ")));
}
