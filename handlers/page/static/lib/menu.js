// Menus, dialogs and short notes over the page. All give the focus back.

import { button, h, icon, iconButton } from "./dom.js";
import { t } from "./words.js";

/**
 * Open a menu below a button.
 * @param {HTMLElement} opener
 * @param {({words: string, picture?: string, act: () => void, bad?: boolean, current?: boolean} | null)[]} entries
 */
export function openMenu(opener, entries) {
  const items = entries.filter(Boolean).map(({ words, picture, act, bad, current }) => {
    const chosen = () => {
      menu.hidePopover();
      act();
    };
    const name = bad ? "button.line.bad" : "button.line";
    const role = current === undefined ? { role: "menuitem" } : { role: "menuitemradio", "aria-checked": String(current) };
    return h(name, { type: "button", tabindex: -1, onclick: chosen, ...role }, picture && icon(picture), h("span.cut", {}, words), current && icon("check"));
  });
  const menu = h("div.pop.menu", { popover: "auto", role: "menu", onkeydown: (event) => move(event, items) }, ...items);
  show(menu, opener);
  items[0]?.focus();
}

function move(event, items) {
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    items[(to + items.length) % items.length].focus();
  } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    const next = [...items.slice(at + 1), ...items].find((item) => item.textContent.toLowerCase().startsWith(event.key.toLowerCase()));
    next?.focus();
  }
}

/** Show a popover beside its opener, within the window; the focus goes back there at its end. */
export function show(popover, opener) {
  // Within the landmark of its opener.
  (opener.closest("main, .top, .foot, .side") ?? document.body).append(popover);
  popover.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
    opener.setAttribute("aria-expanded", "false");
    if (popover.contains(document.activeElement) || document.activeElement === document.body) opener.focus();
    popover.remove();
  });
  popover.showPopover();
  opener.setAttribute("aria-expanded", "true");
  const at = opener.getBoundingClientRect();
  const own = popover.getBoundingClientRect();
  const below = at.bottom + 4 + own.height <= innerHeight;
  const rtl = document.documentElement.dir === "rtl";
  const start = rtl ? at.right - own.width : at.left;
  popover.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - own.height - 4)}px`;
  popover.style.left = `${Math.max(8, Math.min(start, innerWidth - own.width - 8))}px`;
}

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

let timer = 0;

/** Say a short thing to screen readers, and to the eye for a moment if it is worth it. */
export function say(text) {
  const region = document.getElementById("said");
  clearTimeout(timer);
  timer = setTimeout(() => (region.textContent = text), 60);
}

/** Copy a text, also where the page is served over plain HTTP. */
export async function copy(text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else {
    const field = /** @type {HTMLTextAreaElement} */ (h("textarea.hide", { readonly: true, "aria-hidden": "true" }));
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say(t("copied"));
}
