// Dialogs, and notes with ten seconds to take something back. All give the focus back.

import { button, h, iconButton } from "./dom.js";
import "./more.js";
import { t } from "./words.js";

/**
 * Open a dialog, and return what `close` was called with; undefined if it was left.
 * @param {string} title
 * @param {(close: (value?: any) => void) => (Node | string)[]} content
 */
export function openDialog(title, content) {
  return new Promise((resolve) => {
    let given;
    const close = (value) => {
      given = value;
      dialog.close();
    };
    const head = h("header.row", {}, h("h2", { id: "dialog-title" }, title), h("span.sp"), iconButton("x", t("close"), () => close()));
    const dialog = /** @type {HTMLDialogElement} */ (h("dialog.pop.dialog", { "aria-labelledby": "dialog-title" }, head));
    dialog.append(...content(close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(given);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Ask before something that can not be undone; returns whether it is wanted. */
export async function sure(title, text, act) {
  const answer = await openDialog(title, (close) => [
    h("p.soft", {}, text),
    h("div.row.wrap", {}, button(act, () => close(true), { kind: "b.bad" }), button(t("cancel"), () => close(false), { kind: "b.quiet" })),
  ]);
  return answer === true;
}

const UNDO_MS = 10_000;

/** Say what was done, with ten seconds to take it back; hover and focus hold them. Returns whether it was taken back. */
export function undoable(text) {
  return new Promise((resolve) => {
    const end = (undone) => {
      clearTimeout(timer);
      toast.remove();
      removeEventListener("pagehide", finish);
      resolve(undone);
    };
    const finish = () => end(false);
    const undo = button(t("undo"), () => end(true), { kind: "b.quiet.tiny" });
    const toast = h("div.pop.toast", { role: "status" }, h("span.cut", {}, text), undo);
    let timer = setTimeout(finish, UNDO_MS);
    const hold = () => clearTimeout(timer);
    const release = () => {
      clearTimeout(timer);
      timer = setTimeout(finish, UNDO_MS);
    };
    for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, hold);
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, release);
    addEventListener("pagehide", finish);
    const foot = /** @type {HTMLElement} */ (document.querySelector(".foot:not([hidden])"));
    toast.style.bottom = `${(foot?.offsetHeight ?? 0) + 12}px`;
    document.body.append(toast);
  });
}
