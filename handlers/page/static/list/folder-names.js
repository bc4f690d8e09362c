// The names of folders, and which of them are open in this browser.

import { get } from "../api/client.js";
import { keep, kept } from "../lib/kept.js";
import { compare } from "../lib/words.js";

const OPEN = "folders";

/** Return all folders of the caller with the numbers of their conversations, by name. */
export async function readFolders(query = "") {
  const found = [];
  let cursor = "";
  do {
    const page = await get(`conversations/folders?limit=500${query}${cursor}`);
    found.push(...page.data);
    cursor = page.has_more ? `&cursor=${encodeURIComponent(page.next_cursor)}` : "";
  } while (cursor);
  return found.sort((one, other) => compare(one.name, other.name));
}

/** Return whether a folder is open. */
export function isOpen(name) {
  return kept(OPEN, []).includes(name);
}

/** Remember that a folder is open, or not. */
export function keepOpen(name, is) {
  const others = kept(OPEN, []).filter((one) => one !== name);
  keep(OPEN, is ? [...others, name] : others);
}

/** Let an open folder that got another name stay open; null: it is gone. */
export function renameOpen(from, to) {
  if (to && isOpen(from)) keepOpen(to, true);
  keepOpen(from, false);
}
