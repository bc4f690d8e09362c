// All keys.

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { KEYS } from "./keys.js";
import { keep, kept } from "./kept.js";
import "./more.js";
import { t } from "./words.js";

/** Show the keys, and the switch that turns single letters off. */
export function openHelp() {
  const rows = [
    ...Object.entries(KEYS).map(([key, act]) => [key.split(" "), t(`key.${act}`)]),
    [["Esc"], t("key.stop")],
    [["↑"], t("key.editLast")],
  ];
  const table = h("table", {}, h("tbody", {}, ...rows.map(([keys, words]) => h("tr", {}, h("th", { scope: "row" }, words), h("td.end", {}, ...keys.flatMap((key) => [h("kbd", {}, key), " "]))))));
  const on = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: "keys-on", onchange: () => keep("keys", on.checked) }));
  on.checked = kept("keys", true);
  return openDialog(t("keys.title"), () => [h("label.row", { for: "keys-on" }, on, t("keys.on")), table]);
}
