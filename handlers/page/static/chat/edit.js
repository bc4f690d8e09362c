// Editing a question: a new version beside it, and the old one stays.

import { button, h } from "../lib/dom.js";
import { onEnter } from "../lib/enter.js";
import "../lib/more.js";
import { filesOf, partOf } from "./attach.js";
import { t } from "../lib/words.js";
import { draftOf, dropDraft, keepDraft } from "./drafts.js";

/** Show a field in place of the words of a message; `done` gets the new ones. */
export function editMessage(view, conversationId, done) {
  const own = view.element.querySelector(".own");
  if (!own) return; // it is open already
  const name = `${conversationId}.${view.message.id}`;
  const field = /** @type {HTMLTextAreaElement} */ (h("textarea", { dir: "auto", "aria-label": t("message.edit"), rows: 1 }));
  const { words, files } = filesOf(view.message.content);
  field.value = draftOf(name) || words;
  const close = () => {
    form.replaceWith(own);
    own.querySelector("button")?.focus({ preventScroll: true });
  };
  const cancel = () => {
    dropDraft(name);
    close();
  };
  const save = () => {
    const text = field.value;
    dropDraft(name);
    close();
    if (text.trim() && text !== words) done(files.length ? [{ type: "text", text }, ...files.map(partOf)] : text);
  };
  const tools = h("div.tools", {}, h("span.note.dim", {}, t("edit.keeps")), h("span.sp"), button(t("cancel"), cancel, { kind: "b.quiet.tiny" }), h("button.b.main.tiny", { type: "submit" }, t("edit.ask")));
  const form = h("form.box.editing", { onsubmit: (event) => (event.preventDefault(), save()) }, field, tools);
  field.addEventListener("input", () => keepDraft(name, field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      cancel();
    }
  });
  onEnter(field, save);
  own.replaceWith(form);
  field.focus();
}
