// How to get a model that is worth talking to.

import { openDialog } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import "../lib/more.js";
import { t } from "../lib/words.js";

const PULL = "jan pull bartowski/Qwen2.5-0.5B-Instruct-GGUF '*Q4_K_M.gguf'";

/** Show the steps. */
export function sayMore() {
  const command = h("pre", { dir: "ltr", tabindex: 0, role: "group", "aria-label": t("code") }, h("code", {}, PULL));
  return openDialog(t("demo.more"), () => [
    h("p.soft", {}, t("demo.why")),
    h("ol.gap", {}, h("li", {}, t("demo.pull"), h("figure.code", {}, command)), h("li", {}, t("demo.configure")), h("li", {}, t("demo.restart"))),
    h("p.note.dim", {}, t("demo.docs")),
  ]);
}
