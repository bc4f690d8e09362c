// What was used, and what is left.

import { get } from "../api/client.js";
import { h, meter, svg } from "../lib/dom.js";
import "../lib/more.js";
import { clock, number, percent, short, shortDay, span, t } from "../lib/words.js";
import { table } from "./account.js";

const DAYS = 30;
const HIGH = 100;
const NEAR = 0.75;

/** Return the content of the part. */
export async function usage() {
  const report = await get("usage");
  return [
    h("h2", { id: "part" }, t("account.usage")),
    h("div", {}, ...report.limits.map(limit), ...report.quotas.filter((quota) => quota.limit !== null).map(quota)),
    chart(report),
    models(report),
  ];
}

function limit({ name, unit, seconds, limit: most, used, resets_at: end }) {
  const until = Date.parse(end) / 1000;
  const words = t(`usage.${unit}`, { span: span(seconds, "long") });
  const rest = used ? t("usage.full", { time: clock(until), span: span(until - Date.now() / 1000) }) : "";
  return line(words, used, most, rest, name);
}

function quota({ name, used, limit: most }) {
  const mega = name === "bytes" ? 1e6 : 1;
  return line(t(`usage.quota.${name}`), Math.round(used / mega), Math.round(most / mega), "");
}

function line(words, used, most, rest, name = "") {
  const part = most ? used / most : 0;
  const kind = part >= 1 ? "full" : part >= NEAR ? "near" : "";
  const note = rest ? `${percent(part)}. ${rest}` : percent(part);
  return h("div.limit", {}, h("span", { title: name }, words), meter(words, used, most, kind), h("span.end", {}, t("usage.of", { used, most })), h("span.note", {}, note));
}

/** Tokens of each day as bars, and as a table behind them. */
function chart(report) {
  const days = Array.from({ length: DAYS }, (_, index) => new Date(Date.parse(report.to) - (DAYS - 1 - index) * 86_400_000).toISOString().slice(0, 10));
  const tokens = days.map((day) => report.data.filter((row) => row.day === day).reduce((sum, row) => sum + row.total_tokens, 0));
  const most = Math.max(1, ...tokens);
  const bars = tokens.map((value, index) => svg("rect", { class: "g-bar", x: index * 10 + 2.5, y: HIGH - (HIGH * value) / most, width: 5, height: (HIGH * value) / most }));
  const grid = [25, 50, 75].map((at) => svg("path", { class: "g-grid", d: `M0 ${at}H${DAYS * 10}` }));
  const plot = svg("svg", { viewBox: `0 0 ${DAYS * 10} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...grid, ...bars);
  const label = t("usage.byDay");
  const rows = days.map((day, index) => h("tr", {}, h("th", { scope: "row" }, dayOf(day)), h("td.n", {}, number(tokens[index]))));
  const sum = tokens.reduce((all, value) => all + value, 0);
  return h("figure.chart", {},
    h("figcaption", {}, h("b", {}, label), h("span.small.soft.num", {}, t("tokens", { n: sum }))),
    h("div.plot", {}, plot),
    h("div.up", { "aria-hidden": "true" }, h("span", {}, short(most)), h("span", {}, "0")),
    h("div.along", { "aria-hidden": "true" }, ...[days[0], days.at(-1)].map((at) => h("bdi", {}, dayOf(at)))),
    h("details", {}, h("summary", {}, t("usage.numbers")), table(label, [t("usage.day"), { n: t("usage.tokensHead") }], rows)));
}

/** Write a day such as 2026-11-28 as the language does. */
function dayOf(name) {
  return shortDay(Date.parse(`${name}T12:00`) / 1000);
}

function models(report) {
  const sums = new Map();
  for (const row of report.data) {
    const sum = sums.get(row.model) ?? { requests: 0, prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
    for (const name of Object.keys(sum)) sum[name] += row[name];
    sums.set(row.model, sum);
  }
  const rows = [...sums].sort(([, one], [, other]) => other.total_tokens - one.total_tokens).map(([model, sum]) => h("tr", {}, h("th", { scope: "row" }, model), ...Object.values(sum).map((value) => h("td.n", {}, number(value)))));
  const heads = [t("usage.model"), { n: t("usage.asked") }, { n: t("usage.prompt") }, { n: t("usage.answers") }, { n: t("usage.together") }];
  return rows.length ? table(t("usage.byModel"), heads, rows) : h("p.dim", {}, t("usage.nothing"));
}
