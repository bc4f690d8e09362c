// Markdown becomes HTML on the server; texts that are asked for together go together.

import { post } from "../api/client.js";
import { h } from "../lib/dom.js";
import { showServerHtml } from "../lib/html.js";
import { decorate } from "./decorate.js";

const MOST_KEPT = 2000;
const MOST_AT_ONCE = 50;
// Texts that are shown in one task.
const AT_ONCE = 5;
const MOST_LETTERS = 200_000;
const PATIENCE_MS = 400;
/** @type {Map<string, Promise<string | null>>} */
const made = new Map();
/** @type {{text: string, resolve: (html: string | null) => void}[]} */
let waiting = [];

/** Return the HTML of a Markdown text; null if the server has no renderer, or not for a text of this length. */
function htmlOf(text) {
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
  let some = [];
  let letters = 0;
  for (const one of all) {
    if (some.length && (some.length >= MOST_AT_ONCE || letters + one.text.length > MOST_LETTERS)) {
      await askFor(some);
      [some, letters] = [[], 0];
    }
    some.push(one);
    letters += one.text.length;
  }
  await askFor(some);
}

async function askFor(some) {
  let texts = null;
  try {
    texts = (await post("render", { text: some.map(({ text }) => text) })).data;
  } catch {
    // Shown as they are written.
  }
  for (const [index, { text, resolve }] of some.entries()) {
    if (index && index % AT_ONCE === 0) await new Promise((next) => setTimeout(next));
    if (!texts) made.delete(text);
    resolve(texts ? texts[index].blocks.map((block) => block.html).join("") : null);
  }
}

/** Show a text as Markdown in an element: as it is where no HTML comes, or not soon. */
export async function showMarkdown(element, text) {
  const asItIs = () => element.childNodes.length || element.append(h("p.raw", {}, text));
  const late = setTimeout(asItIs, PATIENCE_MS);
  const html = await htmlOf(text);
  clearTimeout(late);
  if (html === null) {
    asItIs();
    return;
  }
  showServerHtml(element, html);
  decorate(element);
}
