// Keys: single letters outside of fields, which can be switched off; none of the browser's.

import { tell } from "./bus.js";
import { kept } from "./kept.js";
import { go } from "./router.js";

/** The keys and what they do: places to go to, and acts that the open page carries out. */
export const KEYS = {
  n: "new",
  "/": "search",
  m: "model",
  j: "next",
  k: "previous",
  "[": "earlier",
  "]": "later",
  c: "copy",
  r: "again",
  e: "edit",
  t: "tree",
  "g g": "goTo",
  "g e": "newest",
  "?": "help",
};

const FIELDS = "input, textarea, select, [role=menu], dialog, [role=tree]";
const HOLD_MS = 5000;
let first = "";
// Letters that were typed since a key that opens a field: they are meant for it.
let held = null;
let patience = 0;

/** Keep the letters that follow for the field that opens now. */
export function holdKeys() {
  held = "";
  clearTimeout(patience);
  patience = setTimeout(() => (held = null), HOLD_MS);
}

/** Stop keeping letters: no field opens. */
export function forgetKeys() {
  held = null;
}

function handOver({ target }) {
  const letters = held;
  held = null;
  if (!letters || !target.matches("input, textarea")) return;
  target.setRangeText(letters, target.selectionStart, target.selectionEnd, "end");
  target.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Listen to keys for as long as the page is open. */
export function startKeys() {
  addEventListener("focusin", handOver);
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") return escape(event);
    const target = /** @type {Element} */ (event.target);
    if (!kept("keys", true) || target.closest(FIELDS)) return;
    if (held !== null) {
      event.preventDefault();
      if (event.key.length === 1) held += event.key;
      return;
    }
    const key = first ? `${first} ${event.key}` : event.key;
    first = event.key === "g" && !first ? "g" : "";
    const act = KEYS[key];
    if (!act) return;
    event.preventDefault();
    carryOut(act);
  });
}

function escape(event) {
  held = null;
  const target = /** @type {Element} */ (event.target);
  if (target.closest("dialog, [popover]") || document.querySelector("[popover]:popover-open")) return;
  tell("act", "stop");
}

function carryOut(act) {
  if (act === "search" || act === "goTo") holdKeys();
  if (act === "new") go({});
  else if (act === "search") go({ search: "" });
  else if (act === "goTo") import("./go-to.js").then(({ openGoTo }) => openGoTo());
  else if (act === "help") import("./help.js").then(({ openHelp }) => openHelp());
  else tell("act", act);
}
