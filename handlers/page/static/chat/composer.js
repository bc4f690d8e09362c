// The field to write in. It stands at the foot of every conversation and never moves.

import { button, h, icon, iconButton } from "../lib/dom.js";
import { enterSends, onEnter } from "../lib/enter.js";
import { t } from "../lib/words.js";
import { LONG_PASTE, partOf } from "./attach.js";
import { dropDraft, draftOf, flush, keepDraft } from "./drafts.js";
import { Files } from "./files.js";

/** Events: "send" and "fit" with the text, "stop", "model". */
export class Composer extends HTMLElement {
  connectedCallback() {
    if (this.field) return;
    this.name = null;
    this.running = 0;
    this.field = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: 1, dir: "auto", "aria-label": t("write.message"), placeholder: t("write.first"), enterkeyhint: enterSends() ? "send" : "enter" }));
    this.modelName = h("span.cut");
    this.modelButton = h("button.b.quiet.tiny", { type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => this.pick() }, this.modelName, icon("down"));
    this.stopButton = button(t("stop"), () => this.dispatchEvent(new Event("stop")), { kind: "b.tiny", picture: "stop", hidden: true });
    this.sendButton = iconButton("send", t("send"), () => this.send(), { kind: "b.main.tiny.icon" });
    this.room = h("span.room");
    this.files = new Files((problem) => this.dispatchEvent(Object.assign(new Event("problem"), { problem })), () => this.#typed());
    this.reason = iconButton("thought", t("write.reasoning"), () => this.#switchReasoning(), { hidden: true, "aria-pressed": "false" });
    this.tools = h("div.tools", {}, this.modelButton, this.reason, this.files.button, this.room, this.stopButton, this.sendButton);
    this.notices = h("div.gap", { hidden: true });
    const box = h("form.box", { onsubmit: (event) => (event.preventDefault(), this.send()) }, this.files.element, this.field, this.tools);
    this.files.takeDrops(document);
    this.demo = h("p.note.dim", { hidden: true }, t("demo"), " ", h("button.link", { type: "button", onclick: () => import("./demo.js").then(({ sayMore }) => sayMore()) }, t("demo.more")));
    this.hints = h("p.keys", {}, h("span", {}, t(enterSends() ? "keys.enter" : "keys.ctrlEnter")), h("span", {}, t("keys.shiftEnter")), h("span", {}, t("keys.help")));
    this.write = h("div.write", {}, this.notices, box, this.demo, this.hints);
    this.append(this.write);
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "ArrowUp" && !this.field.value) this.dispatchEvent(new Event("edit-last"));
    });
    onEnter(this.field, () => this.send());
    this.field.addEventListener("paste", (event) => this.#paste(event));
    // Not as typed: the draft that is kept would be taken for one that was emptied.
    this.#judge();
  }

  #typed() {
    const text = this.field.value;
    this.#judge();
    keepDraft(this.name, text);
    this.dispatchEvent(new Event("typed"));
  }

  /** Send is there for words or files, and not while they would be refused. */
  #judge() {
    this.sendButton.disabled = Boolean(this.blocked || (!this.field.value.trim() && !this.files.all.length));
  }

  /** A long paste becomes a file, and so do files. */
  #paste(event) {
    const { files } = event.clipboardData;
    const text = event.clipboardData.getData("text/plain");
    if (files.length && !text) this.files.add(files);
    else if (text.length > LONG_PASTE) this.files.put({ name: t("files.paste", { n: this.files.all.length + 1 }), text });
    else return;
    event.preventDefault();
  }

  #switchReasoning() {
    this.reasoning = !this.reasoning;
    this.reason.setAttribute("aria-pressed", String(this.reasoning));
  }

  /** The letters that would be sent. */
  get letters() {
    return this.field.value.length + this.files.all.reduce((sum, file) => sum + file.text.length, 0);
  }

  /** What would be sent: a text, or parts if there are files. */
  content() {
    const text = this.field.value;
    return this.files.all.length ? [{ type: "text", text }, ...this.files.all.map(partOf)] : text;
  }

  /** Show the draft of a conversation; null is a new one. */
  open(name, placeholder) {
    flush();
    if (name !== this.name) this.files.drop(this.files.all);
    this.name = name;
    this.takeBack();
    /** Whether the reader has chosen a model here. */
    this.picked = false;
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

  /** Hand over what was typed, by an event of this name. It stays in the field until the server has it. */
  send(name = "send") {
    const text = this.field.value;
    if (this.sendButton.disabled || this.handed?.text === text) return;
    this.handed = { text, files: [...this.files.all] };
    this.dispatchEvent(Object.assign(new Event(name), { text, content: this.content() }));
  }

  /** Let the same be handed over again: the server did not take it. */
  takeBack() {
    this.handed = null;
  }

  /** Empty the field: the server has the message, unless something else was typed or added meanwhile. */
  sent(text) {
    if (this.field.value === text) this.field.value = "";
    this.files.drop(this.handed?.files ?? []);
    this.takeBack();
    dropDraft(this.name);
    this.#typed();
  }

  /** Put a text into the field, unless there is one. */
  fill(text) {
    if (!this.field.value) this.field.value = text;
    this.#typed();
  }

  /** Take the focus, unless the reader writes elsewhere already, or has no keys. */
  offerFocus() {
    const isTaken = document.activeElement?.closest("input, textarea, select, dialog, [popover]");
    if (!isTaken && matchMedia("(pointer: fine)").matches) this.focusField();
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
    this.#judge();
  }

  set model(model) {
    this.chosen = model;
    this.modelName.textContent = model?.id ?? t("model.none");
    this.modelButton.setAttribute("aria-label", t("model.choose", { model: model?.id ?? "" }));
    this.reason.hidden = !model?.reasoning;
    this.demo.hidden = !model?.demo;
    if (this.reasoning === undefined) this.reasoning = true;
    this.reason.setAttribute("aria-pressed", String(this.reasoning));
  }

  get model() {
    return this.chosen;
  }

  async pick() {
    const { openPicker } = await import("./picker.js");
    const model = await openPicker(this.modelButton, this.chosen?.id);
    if (model) this.choose(model);
    this.focusField();
  }

  /** Ask this model from now on. */
  choose(model) {
    this.model = model;
    this.picked = true;
    this.blocked = false;
    this.notice(null);
    this.dispatchEvent(new Event("model"));
  }

  /** What can be done about a conversation that is too long, or a question that alone is. */
  offers({ tree, temporary }) {
    const drop = () => {
      this.block(false);
      this.send("fit");
    };
    const tell = (name) => () => this.dispatchEvent(new Event(name));
    const kind = "b.quiet.tiny";
    return [
      button(t("long.model"), () => this.pick(), { kind: "b.tiny" }),
      tree.size > 0 && !temporary && button(t("long.summary"), tell("summary"), { kind }),
      tree.size > 0 && button(t("long.drop"), drop, { kind }),
      tree.size > 0 && button(t("list.new"), tell("fresh"), { kind }),
    ];
  }

  /** Say above the field what keeps it from sending; null takes that away. */
  notice(element) {
    if (element) this.takeBack();
    this.notices.hidden = !element;
    this.notices.replaceChildren(...(element ? [element] : []));
  }
}

customElements.define("jan-composer", Composer);
