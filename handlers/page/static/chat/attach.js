// Files that go with a question: text as it is, PDF by the server, long pastes.

import { send } from "../api/client.js";

/** Letters of a paste that becomes a file. */
export const LONG_PASTE = 8000;
const MOST_BYTES = 20_000_000;
const MOST_LETTERS = 400_000;
const HEAD = /^\n*(.+):\n(`{3,})([^\n]*)\n([\s\S]*)\n\2$/;

/** A file that can not be added. `code`: size, kind or tooLong. */
export class NoFile extends Error {
  constructor(code, name) {
    super(name);
    this.code = code;
  }
}

/** Read a file as text. Throws NoFile, and ApiError for a PDF that has none. */
export async function readFile(file) {
  if (file.size > MOST_BYTES) throw new NoFile("size", file.name);
  const isPdf = file.type === "application/pdf" || /\.pdf$/i.test(file.name);
  const text = isPdf ? await textOfPdf(file) : await textOfFile(file);
  if (text.length > MOST_LETTERS) throw new NoFile("tooLong", file.name);
  return { name: file.name.replace(/[\n:]/g, " "), text };
}

async function textOfPdf(file) {
  const answer = await send("POST", "documents/text", file, { headers: { "Content-Type": "application/pdf" } });
  return (await answer.json()).text;
}

async function textOfFile(file) {
  const bytes = await file.arrayBuffer();
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (text.includes("\0")) throw new NoFile("kind", file.name);
    return text;
  } catch {
    throw new NoFile("kind", file.name);
  }
}

/** Return the part of a message that carries a file: its name, and its text between fences. */
export function partOf({ name, text }) {
  const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map(([fence]) => fence.length));
  const fence = "`".repeat(longest + 1);
  const language = /\.(\w{1,12})$/.exec(name)?.[1] ?? "";
  return { type: "text", text: `\n\n${name}:\n${fence}${language}\n${text.replace(/\n$/, "")}\n${fence}` };
}

/** Return the files of a message's content, and the words that are no file. */
export function filesOf(content) {
  if (typeof content === "string") return { words: content, files: [] };
  const words = [];
  const files = [];
  for (const { text = "" } of content ?? []) {
    const found = words.length ? HEAD.exec(text) : null;
    if (found) files.push({ name: found[1], text: found[4] });
    else words.push(text);
  }
  return { words: words.join("\n\n"), files };
}
