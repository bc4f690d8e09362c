// The dialog of sampling, system prompt and presets.

import { patch } from "../api/client.js";
import { modelNamed } from "../api/models.js";
import { openDialog } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import "../lib/more.js";
import { t } from "../lib/words.js";
import { PresetPart } from "./presets.js";
import { metadataWith } from "./settings.js";

/** Fields of a request, with least, most and step. Empty is the model's own. */
const NUMBERS = [
  ["temperature", 0, 2, 0.1],
  ["top_p", 0, 1, 0.05],
  ["top_k", -1, 1_000_000, 1],
  ["min_p", 0, 1, 0.01],
  ["repeat_penalty", 0.01, 100, 0.05],
  ["presence_penalty", -2, 2, 0.1],
  ["frequency_penalty", -2, 2, 0.1],
  ["max_tokens", -1, 10_000_000, 1],
  ["seed", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 1],
];
const EFFORTS = ["none", "low", "medium", "high"];

/** The fields of the dialog. */
class Fields {
  constructor(isFixed, reasons) {
    this.reasons = reasons;
    this.system = /** @type {HTMLTextAreaElement} */ (h("textarea.in", { id: "set-system", rows: 4, dir: "auto", "aria-describedby": "set-system-note", disabled: isFixed }));
    this.numbers = NUMBERS.map(([name, min, max, step]) => {
      const given = { id: `set-${name}`, type: "number", min, max, step: "any", inputmode: "decimal", placeholder: t("settings.models"), "data-step": step };
      return [name, /** @type {HTMLInputElement} */ (h("input.in", given))];
    });
    this.effort = /** @type {HTMLSelectElement} */ (h("select.in", { id: "set-effort" }));
    const field = (id, label, input) => h("div.field", {}, h("label", { for: id }, label), input);
    this.effortField = field("set-effort", t("settings.effort"), this.effort);
    const note = t(isFixed ? "settings.systemFixed" : "settings.systemNote");
    this.elements = [
      h("div.field", {}, h("label", { for: "set-system" }, t("system")), this.system, h("p.note.dim", { id: "set-system-note" }, note)),
      h("div.pairs", {}, ...this.numbers.map(([name, input]) => field(`set-${name}`, t(`settings.${name}`), input)), this.effortField),
    ];
  }

  /** Fill the fields; a system prompt that stands in the conversation stays. */
  fill({ options, system }, always = false) {
    const { reasoning_effort: effort = "", ...rest } = options;
    for (const [name, input] of this.numbers) {
      input.value = rest[name] ?? "";
      delete rest[name];
    }
    this.others = rest;
    const known = EFFORTS.includes(effort) || !effort ? EFFORTS : [...EFFORTS, effort];
    const choices = known.map((value) => h("option", { value }, EFFORTS.includes(value) ? t(`settings.effort.${value}`) : value));
    this.effort.replaceChildren(h("option", { value: "" }, t("settings.models")), ...choices);
    this.effort.value = effort;
    this.effortField.hidden = !this.reasons && !effort;
    if (always || !this.system.disabled) this.system.value = system;
  }

  read() {
    const options = { ...this.others };
    for (const [name, input] of this.numbers) if (input.value !== "") options[name] = Number(input.value);
    if (this.effort.value) options.reasoning_effort = this.effort.value;
    return { options, system: this.system.value.trim() };
  }

  isValid() {
    return this.numbers.every(([, input]) => input.reportValidity());
  }
}

/**
 * Let the reader change them; returns the new settings, undefined if nothing was changed.
 * @param {import("./conversation.js").Conversation} conversation
 * @param {import("./presets.js").Settings} settings
 * @param {import("./composer.js").Composer} composer whose model answers, and which gets that of a preset
 */
export async function openSettings(conversation, settings, composer) {
  const fields = new Fields(conversation.tree.size > 0, composer.model?.reasoning);
  fields.fill(settings, true);
  const presets = new PresetPart(fields, composer.model?.id);
  const chosen = await openDialog(t("conversation.settings"), (close) => [
    presets.element,
    h("form.gap4", { onsubmit: (event) => (event.preventDefault(), close(fields.read())) },
      ...fields.elements,
      h("div.row", {}, h("button.b.main", { type: "submit" }, t("save")))),
  ]);
  if (!chosen) return undefined;
  const model = presets.model && presets.model !== composer.model?.id ? await modelNamed(presets.model).catch(() => null) : null;
  if (model && !model.gone) composer.choose(model);
  document.getElementById("begins")?.remove();
  conversation.metadata = metadataWith(conversation.metadata, chosen.options);
  if (conversation.id) await patch(`conversations/${conversation.id}`, { metadata: conversation.metadata });
  return chosen;
}
