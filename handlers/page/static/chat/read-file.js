// Reading a file that goes with a question: text as it is, PDF by the server.

import { send } from "../api/client.js";
import "../lib/more.js";

const MOST_BYTES = 20_000_000;
const MOST_LETTERS = 400_000;

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
