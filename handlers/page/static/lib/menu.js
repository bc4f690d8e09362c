// Menus over the page, which give the focus back, and what is said to screen readers.

import { h, icon } from "./dom.js";
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
