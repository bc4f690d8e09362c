// How files and long pastes stand in a question.

/** Letters of a paste that becomes a file. */
export const LONG_PASTE = 8000;
const HEAD = /^\n*(.+):\n(`{3,})([^\n]*)\n([\s\S]*)\n\2$/;

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
