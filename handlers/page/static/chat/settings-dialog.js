// The dialog of sampling and system prompt.

import { patch } from "../api/client.js";
import { openDialog } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import "../lib/more.js";
import { t } from "../lib/words.js";
import { metadataWith } from "./settings.js";

/** Fields of a request, with least, most and step. Empty is the model's own. */
const NUMBERS = [
  ["temperature", 0, 2, 0.1],
  ["top_p", 0, 1, 0.05],
  ["top_k", 1, 1000, 1],
  ["min_p", 0, 1, 0.01],
  ["repeat_penalty", 0.5, 2, 0.05],
  ["max_tokens", 1, 1_000_000, 1],
  ["seed", 0, 2_147_483_647, 1],
];
const EFFORTS = ["none", "low", "medium", "high"];

/** Let the reader change them; returns the new settings, undefined if nothing was changed. */
export async function openSettings(conversation, settings, model) {
  const system = /** @type {HTMLTextAreaElement} */ (h("textarea.in", { id: "set-system", rows: 4, dir: "auto", "aria-describedby": "set-system-note" }));
  system.value = settings.system;
  system.disabled = conversation.tree.size > 0;
  const inputs = NUMBERS.map(([name, min, max, step]) => {
    const input = /** @type {HTMLInputElement} */ (h("input.in", { id: `set-${name}`, type: "number", min, max, step: "any", inputmode: "decimal", placeholder: t("settings.models"), "data-step": step }));
    input.value = settings.options[name] ?? "";
    return [name, input];
  });
  const effort = /** @type {HTMLSelectElement} */ (h("select.in", { id: "set-effort" }, h("option", { value: "" }, t("settings.models")), ...EFFORTS.map((value) => h("option", { value }, t(`settings.effort.${value}`)))));
  effort.value = settings.options.reasoning_effort ?? "";
  const field = (id, label, input) => h("div.field", {}, h("label", { for: id }, label), input);
  const read = () => {
    const options = {};
    for (const [name, input] of inputs) if (input.value !== "") options[name] = Number(input.value);
    if (effort.value) options.reasoning_effort = effort.value;
    return { options, system: system.value.trim() };
  };
  const note = t(conversation.tree.size ? "settings.systemFixed" : "settings.systemNote");
  const chosen = await openDialog(t("conversation.settings"), (close) => [
    h("form.gap4", { onsubmit: (event) => (event.preventDefault(), close(read())) },
      h("div.field", {}, h("label", { for: "set-system" }, t("system")), system, h("p.note.dim", { id: "set-system-note" }, note)),
      h("div.pairs", {}, ...inputs.map(([name, input]) => field(`set-${name}`, t(`settings.${name}`), input)), model?.reasoning && field("set-effort", t("settings.effort"), effort)),
      h("div.row", {}, h("button.b.main", { type: "submit" }, t("save")))),
  ]);
  if (!chosen) return undefined;
  conversation.metadata = metadataWith(conversation.metadata, chosen.options);
  if (conversation.id) await patch(`conversations/${conversation.id}`, { metadata: conversation.metadata });
  return chosen;
}
