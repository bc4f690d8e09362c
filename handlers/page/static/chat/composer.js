// The field to write in. It stands at the foot of every conversation and never moves.

import { button, h, icon, iconButton } from "../lib/dom.js";
import { kept } from "../lib/kept.js";
import { t } from "../lib/words.js";
import { dropDraft, draftOf, flush, keepDraft } from "./drafts.js";
import { openPicker } from "./picker.js";

/** Events: "send" with the text, "stop", "model". */
export class Composer extends HTMLElement {
  connectedCallback() {
    if (this.field) return;
    this.name = null;
    this.running = 0;
    this.field = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: 1, dir: "auto", "aria-label": t("write.message"), placeholder: t("write.first"), enterkeyhint: this.#enterSends ? "send" : "enter" }));
    this.modelName = h("span.cut");
    this.modelButton = h("button.b.quiet.tiny", { type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => this.pick() }, this.modelName, icon("down"));
    this.stopButton = button(t("stop"), () => this.dispatchEvent(new Event("stop")), { kind: "b.tiny", picture: "stop", hidden: true });
    this.sendButton = iconButton("send", t("send"), () => this.send(), { kind: "b.main.tiny.icon" });
    this.room = h("span.room");
    this.extras = h("span.row");
    this.tools = h("div.tools", {}, this.modelButton, this.extras, this.room, this.stopButton, this.sendButton);
    this.notices = h("div.gap", { hidden: true });
    this.files = h("div.row.wrap.files", { hidden: true });
    const box = h("form.box", { onsubmit: (event) => (event.preventDefault(), this.send()) }, this.files, this.field, this.tools);
    this.hints = h("p.keys", {}, h("span", {}, t(this.#enterSends ? "keys.enter" : "keys.ctrlEnter")), h("span", {}, t("keys.shiftEnter")), h("span", {}, t("keys.help")));
    this.write = h("div.write", {}, this.notices, box, this.hints);
    this.append(this.write);
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("compositionend", () => (this.composed = performance.now()));
    this.#typed();
  }

  get #enterSends() {
    const chosen = kept("enter", "auto");
    return chosen === "auto" ? matchMedia("(pointer: fine)").matches : chosen === "send";
  }

  #typed() {
    const text = this.field.value;
    this.sendButton.disabled = this.blocked || (!text.trim() && !this.hasFiles);
    keepDraft(this.name, text);
    this.dispatchEvent(new Event("typed"));
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey) {
      if (event.key === "ArrowUp" && !this.field.value) this.dispatchEvent(new Event("edit-last"));
      return;
    }
    // Enter within an input method chooses a word; Safari says so only afterwards.
    const composing = event.isComposing || event.keyCode === 229 || performance.now() - (this.composed ?? -1000) < 50;
    const wanted = this.#enterSends ? !event.altKey : event.ctrlKey || event.metaKey;
    if (composing || !wanted) return;
    event.preventDefault();
    this.send();
  }

  /** Show the draft of a conversation; null is a new one. */
  open(name, placeholder) {
    flush();
    this.name = name;
    this.field.value = draftOf(name);
    this.field.placeholder = placeholder;
    this.notices.hidden = true;
    this.notices.replaceChildren();
    this.#typed();
  }

  /** The conversation got its id: the draft goes with it. */
  renamed(name) {
    dropDraft(this.name);
    this.name = name;
    this.#typed();
  }

  /** Hand over what was typed. It stays in the field until the server has it. */
  send() {
    const text = this.field.value;
    if (this.sendButton.disabled) return;
    this.dispatchEvent(Object.assign(new Event("send"), { text }));
  }

  /** Empty the field: the server has the message, unless something else was typed meanwhile. */
  sent(text) {
    if (this.field.value === text) this.field.value = "";
    dropDraft(this.name);
    this.#typed();
  }

  /** Put a text into the field, unless there is one. */
  fill(text) {
    if (!this.field.value) this.field.value = text;
    this.#typed();
  }

  focusField() {
    this.field.focus({ preventScroll: true });
  }

  /** Show that an answer is being made, or not. */
  set busy(is) {
    this.stopButton.hidden = !is;
  }

  /** Keep the message from being sent, because it would be refused. */
  block(is) {
    this.blocked = is;
    this.sendButton.disabled = is || !this.field.value.trim();
  }

  set model(model) {
    this.chosen = model;
    this.modelName.textContent = model?.id ?? t("model.none");
    this.modelButton.setAttribute("aria-label", t("model.choose", { model: model?.id ?? "" }));
  }

  get model() {
    return this.chosen;
  }

  async pick() {
    const model = await openPicker(this.modelButton, this.chosen?.id);
    if (model) {
      this.model = model;
      this.dispatchEvent(new Event("model"));
    }
    this.focusField();
  }

  /** Say above the field what keeps it from sending; null takes that away. */
  notice(element) {
    this.notices.hidden = !element;
    this.notices.replaceChildren(...(element ? [element] : []));
  }
}

customElements.define("jan-composer", Composer);
