// Presets in the dialog of settings: choose one, save, overwrite, rename and delete it, begin with it.

import { get, newId, patch, post, remove } from "../api/client.js";
import { modelNamed } from "../api/models.js";
import { button, h } from "../lib/dom.js";
import "../lib/more.js";
import { compare, t } from "../lib/words.js";

/** @typedef {{options: Record<string, any>, system: string}} Settings */
/** @typedef {{id: string, name: string, model: string | null, system_prompt: string, options: Record<string, any>, default: boolean}} Preset */

/** Read all presets of the reader, in order of creation. */
export async function readPresets() {
  const found = [];
  let cursor = null;
  do {
    const page = await get(`user/presets?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    found.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor);
  return found;
}

/** Tell if settings are those of a preset; empty ones are those of none. */
function matches(preset, { options, system }) {
  const names = Object.keys(options);
  const same = names.length === Object.keys(preset.options).length && names.every((name) => options[name] === preset.options[name]);
  return same && preset.system_prompt.trim() === system && (names.length > 0 || system !== "");
}

/** The part of the dialog about presets. */
export class PresetPart {
  /**
   * @param {{read: () => Settings, fill: (settings: Settings) => void, isValid: () => boolean}} fields of the dialog
   * @param {string | undefined} model that answers now
   */
  constructor(fields, model) {
    this.fields = fields;
    this.ownModel = model ?? null;
    /** The model that the box is about: that of the preset once one is chosen. */
    this.shownModel = this.ownModel;
    /** @type {Preset[]} */
    this.all = [];
    /** @type {Preset | null} */
    this.chosen = null;
    this.own = fields.read();
    this.select = /** @type {HTMLSelectElement} */ (h("select.in", { id: "preset", disabled: true, onchange: () => this.#choose(this.select.value) }));
    this.withModel = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: "preset-model" }));
    this.modelWords = h("label", { for: "preset-model" });
    this.modelLine = h("div.row", {}, this.withModel, this.modelWords);
    const act = (words, call) => button(t(words), () => this.#try(call), { kind: "b.tiny" });
    this.saveAs = act("preset.saveAs", () => this.#ask("", (name) => this.#create({ name, ...this.#values() })));
    this.ofOne = [
      act("preset.overwrite", () => this.#overwrite()),
      act("preset.rename", () => this.#ask(this.chosen.name, (name) => this.#change({ name }, "preset.saved"))),
      act("preset.default", () => this.#change({ default: !this.chosen.default }, this.chosen.default ? "preset.noDefault" : "preset.isDefault")),
      act("preset.delete", () => this.#delete()),
    ];
    this.acts = h("div.row.wrap", {}, this.saveAs, ...this.ofOne);
    this.said = h("p.small.soft", { role: "status", id: "preset-said" });
    this.problem = h("p.small.bad", { role: "alert" });
    this.element = h("section.gap", { "aria-label": t("presets") }, h("div.field", {}, h("label", { for: "preset" }, t("preset")), this.select), this.modelLine, this.acts, this.said, this.problem);
    this.#show();
    this.#try(async () => {
      this.#keepAll(await readPresets());
      this.chosen = this.all.find((preset) => matches(preset, this.own)) ?? null;
      this.withModel.checked = Boolean(this.chosen?.model) && this.chosen.model === this.ownModel;
      this.select.disabled = false;
    });
  }

  /** The model that goes with the settings, null if they leave it as it is. */
  get model() {
    return this.withModel.checked ? this.shownModel : null;
  }

  #values() {
    const { options, system } = this.fields.read();
    return { options, system_prompt: system, model: this.model };
  }

  #keepAll(all) {
    this.all = all.sort((one, other) => compare(one.name, other.name));
  }

  /** Run an act, and say what keeps it from being done. */
  async #try(call) {
    this.problem.textContent = "";
    this.said.replaceChildren();
    try {
      await call();
    } catch (error) {
      this.problem.textContent = error.code === "already_exists" ? t("preset.taken") : (error.status ? error.message : t("offline.text"));
    }
    this.#show();
  }

  #show() {
    const options = this.all.map((preset) => h("option", { value: preset.id }, preset.default ? t("preset.nameDefault", { name: preset.name }) : preset.name));
    this.select.replaceChildren(h("option", { value: "" }, t("preset.none")), ...options);
    this.select.value = this.chosen?.id ?? "";
    for (const one of this.ofOne) one.hidden = !this.chosen;
    this.ofOne[2].setAttribute("aria-pressed", String(Boolean(this.chosen?.default)));
    this.modelLine.hidden = !this.shownModel;
    this.modelWords.textContent = t("preset.model", { model: this.shownModel ?? "" });
  }

  #choose(id) {
    if (!this.chosen) this.own = this.fields.read();
    this.chosen = this.all.find((preset) => preset.id === id) ?? null;
    const { options, system } = this.chosen ? { options: this.chosen.options, system: this.chosen.system_prompt } : this.own;
    this.fields.fill({ options, system });
    this.shownModel = this.chosen?.model ?? this.ownModel;
    this.withModel.checked = Boolean(this.chosen?.model);
    this.#try(async () => {
      const model = this.chosen?.model;
      if (!model || !(await modelNamed(model)).gone || this.chosen?.model !== model) return;
      this.withModel.checked = false;
      this.said.textContent = t("preset.gone", { model });
    });
  }

  /** Ask for a name below the buttons, in place of them. */
  #ask(name, then) {
    if (!this.fields.isValid()) return;
    const field = /** @type {HTMLInputElement} */ (h("input.in", { id: "preset-name", required: true, maxlength: 100, dir: "auto", autocomplete: "off", "aria-describedby": "preset-said" }));
    field.value = name;
    const end = (focused) => {
      form.remove();
      this.acts.hidden = false;
      focused.focus();
    };
    const done = () => this.#try(async () => {
      await then(field.value.trim());
      end(this.select);
    });
    const leave = () => end(this.saveAs);
    const form = h("form.gap", {
      onsubmit: (event) => (event.preventDefault(), done()),
      onkeydown: (event) => event.key === "Escape" && (event.preventDefault(), event.stopPropagation(), leave()),
    }, h("div.field", {}, h("label", { for: "preset-name" }, t("preset.name")), field), h("div.row.wrap", {}, h("button.b.tiny", { type: "submit" }, t("save")), button(t("cancel"), leave, { kind: "b.quiet.tiny" })));
    this.acts.hidden = true;
    this.acts.after(form);
    field.focus();
    field.select();
  }

  async #create(values) {
    const made = await post("user/presets", values, { headers: { "Idempotency-Key": newId("key") } });
    this.#keepAll([...this.all, made]);
    this.chosen = made;
    this.said.textContent = t("preset.saved", { name: made.name });
  }

  async #change(changes, words) {
    const changed = await patch(`user/presets/${this.chosen.id}`, changes);
    const others = this.all.filter(({ id }) => id !== changed.id).map((preset) => (changed.default ? { ...preset, default: false } : preset));
    this.#keepAll([...others, changed]);
    this.chosen = changed;
    this.said.textContent = t(words, { name: changed.name });
  }

  async #overwrite() {
    if (!this.fields.isValid()) return;
    const { options, system_prompt, model } = this.chosen;
    await this.#change(this.#values(), "preset.saved");
    this.#undoable(() => this.#change({ options, system_prompt, model }, "preset.restored"));
  }

  async #delete() {
    const { id, name, model, options, system_prompt, default: isDefault } = this.chosen;
    await remove(`user/presets/${id}`);
    this.all = this.all.filter((preset) => preset.id !== id);
    this.chosen = null;
    this.said.textContent = t("conversation.deleted", { title: name });
    this.select.focus();
    this.#undoable(() => this.#create({ name, model, options, system_prompt, default: isDefault }));
  }

  /** Offer to take the last act back, until the next one. */
  #undoable(undo) {
    this.said.append(" ", button(t("undo"), () => this.#try(undo).then(() => this.select.focus()), { kind: "b.quiet.tiny" }));
  }
}
