// Enter in a field for several lines: it sends, or makes a new line, as the reader has chosen.

import { kept } from "./kept.js";

/** Whether Enter alone sends; otherwise it is Ctrl + Enter. */
export function enterSends() {
  const chosen = kept("enter", "auto");
  return chosen === "auto" ? matchMedia("(pointer: fine)").matches : chosen === "send";
}

/** Call `send` when Enter in the field means that. */
export function onEnter(field, send) {
  let composed = -1000;
  field.addEventListener("compositionend", () => (composed = performance.now()));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    // Enter within an input method chooses a word; Safari says so only afterwards.
    const composing = event.isComposing || event.keyCode === 229 || performance.now() - composed < 50;
    const wanted = enterSends() ? !event.altKey : event.ctrlKey || event.metaKey;
    if (composing || !wanted) return;
    event.preventDefault();
    send();
  });
}
