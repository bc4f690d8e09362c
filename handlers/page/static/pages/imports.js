// Importing conversations: files of other applications, and exports of this page.

import { post, send } from "../api/client.js";
import { h } from "../lib/dom.js";
import "../lib/more.js";
import { objectsOf } from "../lib/pieces.js";
import "../lib/more.js";
import { t } from "../lib/words.js";

/** Bytes of a request: less than the server takes by default. */
const MOST_BYTES = 3_500_000;
const LINES = { headers: { "Content-Type": "application/jsonl" } };

/**
 * Import files, and show in an element what came of each.
 * @param {Iterable<File>} files
 * @param {HTMLElement} shown
 */
export async function importFiles(files, shown) {
  shown.replaceChildren();
  for (const file of files) {
    const line = h("p", { role: "status" }, h("bdi", {}, file.name), " ");
    const said = h("span.dim", {}, t("data.importing"));
    line.append(said);
    shown.append(line);
    try {
      const report = await importFile(file, (done, all) => (said.textContent = t("data.importingPart", { done, all })));
      said.textContent = t("data.imported", report);
      if (report.error) shown.append(h("p.small.bad", { role: "alert" }, report.error));
      if (report.skipped.length) shown.append(skippedList(report.skipped));
    } catch (error) {
      said.replaceWith(h("span.bad", { role: "alert" }, error instanceof SyntaxError ? t("data.notRead") : error.message));
    }
  }
}

function skippedList(skipped) {
  const rows = skipped.map(({ conversation, reason }) => h("li", {}, h("bdi", {}, conversation ?? ""), ": ", reason));
  return h("details.small", {}, h("summary", {}, t("data.skipped", { n: skipped.length })), h("ul", {}, ...rows));
}

async function importFile(file, progress) {
  const begin = await file.slice(0, 4096).text();
  if (/^\s*\{"object":"conversation"/.test(begin)) return importOwn(await file.text(), progress);
  if (file.size <= MOST_BYTES) return reportOf(await (await send("POST", "imports", file)).json());
  return importParts(file, progress);
}

/** An export of this page: each conversation is a line of its own and those of its messages. */
async function importOwn(text, progress) {
  const report = { total: 0, imported: 0, known: 0, skipped: [], error: null };
  const parts = text.split(/^(?=\{"object":"conversation",)/m).filter((part) => part.trim());
  report.total = parts.length;
  for (const part of parts) {
    try {
      await post("conversations/import?once=true", part, LINES);
      report.imported += 1;
    } catch (error) {
      if (error.code === "already_exists") report.known += 1;
      else report.skipped.push({ conversation: part.slice(0, 200).match(/"title":"([^"]*)/)?.[1], reason: error.message });
    }
    progress(report.imported + report.known + report.skipped.length, report.total);
  }
  return report;
}

/** A large file, in parts of some of its conversations, a line for each. A part may be sent again. */
async function importParts(file, progress) {
  const report = { total: 0, imported: 0, known: 0, skipped: [], error: null };
  let [part, size, read] = [[], 0, 0];
  const flush = async () => {
    if (part.length && !report.error) await sendPart(part, report);
    progress(Math.round((100 * read) / file.size), 100);
    [part, size] = [[], 0];
  };
  for await (const one of conversationsOf(file)) {
    if (size + one.size > MOST_BYTES) await flush();
    part.push(one);
    size += one.size;
    read += one.read;
  }
  await flush();
  return report;
}

/**
 * Yield what belongs to one conversation, and where it is in the file.
 *
 * llama.cpp's page writes a line for a session, then a line for each of its messages.
 */
async function* conversationsOf(file) {
  let [found, number] = [null, 0];
  for await (const piece of objectsOf(file)) {
    number += 1;
    const one = piece.size > MOST_BYTES ? await withoutMedia(piece) : piece;
    if (!found || !(await isMessage(one))) {
      if (found) yield found;
      found = { lines: [], size: 0, read: 0, number };
    }
    found.lines.push(one, "\n");
    found.size += one.size + 1;
    found.read += piece.size;
  }
  if (found) yield found;
}

async function sendPart(part, report) {
  const first = part[0].number;
  let told;
  try {
    told = reportOf(await post(`imports?first=${first}`, new Blob(part.flatMap((one) => one.lines))));
  } catch (error) {
    if (error.status !== 413 && error.status !== 400) throw error;
    const last = part.at(-1).number;
    const skipped = [{ conversation: last > first ? `${first} – ${last}` : String(first), reason: error.message }];
    told = { total: part.length, imported: 0, known: 0, skipped, error: null };
  }
  for (const name of ["total", "imported", "known"]) report[name] += told[name];
  report.skipped.push(...told.skipped);
  report.error = told.error;
}

async function isMessage(piece) {
  return (await piece.slice(0, 11).text()) === '{"message":';
}

/** Pictures and sounds are not imported, and would be most of a request. */
async function withoutMedia(piece) {
  const [first, ...others] = (await piece.text()).split(";base64,");
  const kept = [first];
  for (const other of others) {
    // One regular expression for all of it would need too deep a stack.
    const end = other.search(/[^A-Za-z0-9+/=\\]/);
    const begin = kept.at(-1).lastIndexOf("data:");
    if (end < 100 || begin < 0 || kept.at(-1).length - begin > 110) kept.push(`;base64,${other}`);
    else kept.push(kept.pop().slice(0, begin), "data:,", other.slice(end));
  }
  return new Blob(kept);
}

function reportOf(told) {
  return { ...told, error: told.error?.message ?? told.error ?? null };
}

