// Markdown becomes HTML on the server; texts that are asked for together go together.

import { post } from "../api/client.js";
import { h } from "../lib/dom.js";
import { showServerHtml } from "../lib/html.js";

const MOST_KEPT = 2000;
const MOST_AT_ONCE = 20;
/** @type {Map<string, Promise<string | null>>} */
const made = new Map();
/** @type {{text: string, resolve: (html: string | null) => void}[]} */
let waiting = [];

/** Return the HTML of a Markdown text; null if the server has no renderer. */
export function htmlOf(text) {
  let found = made.get(text);
  if (!found) {
    found = new Promise((resolve) => {
      if (!waiting.length) setTimeout(askForAll);
      waiting.push({ text, resolve });
    });
    made.set(text, found);
    if (made.size > MOST_KEPT) made.delete(made.keys().next().value);
  }
  return found;
}

async function askForAll() {
  const all = waiting;
  waiting = [];
  for (let at = 0; at < all.length; at += MOST_AT_ONCE) await askFor(all.slice(at, at + MOST_AT_ONCE));
}

async function askFor(some) {
  await Promise.all(some.map(async ({ text, resolve }) => {
    try {
      resolve((await post("render", { text })).html);
    } catch {
      made.delete(text);
      resolve(null);
    }
  }));
}

/** Show a text as Markdown in an element; as it is until the HTML comes, and where none comes. */
export async function showMarkdown(element, text) {
  element.replaceChildren(h("p.raw", {}, text));
  const html = await htmlOf(text);
  if (html !== null) showServerHtml(element, html);
}
