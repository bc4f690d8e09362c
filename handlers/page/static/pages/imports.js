// Importing conversations: files of other applications, and exports of this page.

import { post, send } from "../api/client.js";
import { h } from "../lib/dom.js";
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
  const all = JSON.parse(await file.text());
  return importParts(Array.isArray(all) ? all : [all], progress);
}

/** An export of this page: each conversation is a line of its own and those of its messages. */
async function importOwn(text, progress) {
  const report = { total: 0, imported: 0, known: 0, skipped: [], error: null };
  const parts = text.split(/^(?=\{"object":"conversation",)/m).filter((part) => part.trim());
  report.total = parts.length;
  for (const part of parts) {
    try {
      await post("conversations/import", part, LINES);
      report.imported += 1;
    } catch (error) {
      report.skipped.push({ conversation: part.slice(0, 200).match(/"title":"([^"]*)/)?.[1], reason: error.message });
    }
    progress(report.imported + report.skipped.length, report.total);
  }
  return report;
}

/** A large file, in parts of some of its conversations. A part may be sent again. */
async function importParts(all, progress) {
  const report = { total: 0, imported: 0, known: 0, skipped: [], error: null };
  let part = [];
  let size = 0;
  let done = 0;
  const flush = async () => {
    if (!part.length || report.error) return;
    const told = reportOf(await post("imports", `[${part.join(",")}]`));
    for (const name of ["total", "imported", "known"]) report[name] += told[name];
    report.skipped.push(...told.skipped);
    report.error = told.error;
    done += part.length;
    progress(done, all.length);
    [part, size] = [[], 0];
  };
  for (const one of all) {
    const text = JSON.stringify(one);
    if (size + text.length > MOST_BYTES) await flush();
    part.push(text);
    size += text.length;
  }
  await flush();
  return report;
}

function reportOf(told) {
  return { ...told, error: told.error?.message ?? told.error ?? null };
}

