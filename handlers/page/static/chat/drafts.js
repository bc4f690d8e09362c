// What was typed and not sent: kept in this browser, by conversation.

import { tell } from "../lib/bus.js";
import { keep, kept, keptNames } from "../lib/kept.js";

const PAUSE_MS = 300;
let timer = 0;
let pending = null;

/** Return the draft of a conversation; "new" is the one that has none yet. */
export function draftOf(name) {
  return kept(`draft.${name ?? "new"}`, "");
}

/** Return the names of conversations that have a draft. */
export function drafts() {
  return keptNames("draft.");
}

/** Keep a draft a moment after the last key. */
export function keepDraft(name, text) {
  if (name === "temporary") return; // nothing of it is kept
  if (pending && pending.name !== name) flush();
  pending = { name, text };
  clearTimeout(timer);
  timer = setTimeout(flush, PAUSE_MS);
}

/** Keep it now. */
export function flush() {
  clearTimeout(timer);
  if (!pending) return;
  const { name, text } = pending;
  pending = null;
  const had = Boolean(draftOf(name));
  keep(`draft.${name ?? "new"}`, text.trim() ? text : null);
  if (had !== Boolean(text.trim())) tell("draft", name);
}

/** Forget a draft: it was sent. */
export function dropDraft(name) {
  if (pending?.name === name) pending = null;
  keep(`draft.${name ?? "new"}`, null);
  tell("draft", name);
}

addEventListener("pagehide", flush);
