// Going to a conversation by its name.

import { get } from "../api/client.js";
import { openDialog } from "./dialog.js";
import { h, icon } from "./dom.js";
import "./more.js";
import { go } from "./router.js";
import { t } from "./words.js";

const PAUSE_MS = 120;

/** Ask for a name, and go to the conversation that is chosen. */
export async function openGoTo() {
  const chosen = await openDialog(t("goTo.title"), (close) => {
    const field = /** @type {HTMLInputElement} */ (h("input.in", { type: "search", "aria-label": t("goTo.title"), role: "combobox", "aria-expanded": "true", "aria-controls": "go-to", autocomplete: "off", autofocus: true }));
    const list = h("div", { id: "go-to", role: "listbox", "aria-label": t("list.conversations") });
    let timer = 0;
    let turn = 0;
    let at = 0;
    const mark = (to) => {
      const rows = [...list.children];
      at = rows.length ? (to + rows.length) % rows.length : 0;
      rows.forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
      if (rows[at]) field.setAttribute("aria-activedescendant", rows[at].id);
      rows[at]?.scrollIntoView({ block: "nearest" });
    };
    const look = async () => {
      const own = ++turn;
      const { data } = await get(`conversations?limit=12&q=${encodeURIComponent(field.value.trim())}`);
      if (own !== turn) return;
      list.replaceChildren(...data.map((one, index) => h("div.model", { role: "option", id: `go-to-${index}`, "aria-selected": "false", onclick: () => close(one.id) }, h("span.cut", { dir: "auto" }, one.title || t("list.untitled")))));
      mark(0);
    };
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(look, PAUSE_MS);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") mark(at + 1);
      else if (event.key === "ArrowUp") mark(at - 1);
      else if (event.key === "Enter") /** @type {HTMLElement} */ (list.children[at])?.click();
      else return;
      event.preventDefault();
    });
    look();
    return [h("div.seek", {}, icon("search"), field), list];
  });
  if (chosen) go({ c: chosen });
}
