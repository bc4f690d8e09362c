// The reader's choices of appearance.

import { kept } from "./kept.js";

/** Show the page in the colours and width that the reader chose. */
export function showLook() {
  const root = document.documentElement;
  const theme = kept("theme", "auto");
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  root.dataset.width = kept("width", "42");
}
