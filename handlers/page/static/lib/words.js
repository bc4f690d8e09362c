// The page's words, in the language of the reader. Plurals, numbers and units are those of Intl.

import { kept } from "./kept.js";

/**
 * Languages by their own names. Each has a file words/LANGUAGE.json; the server sends those words that the first
 * load needs under that name, and the others as words/more/LANGUAGE.json.
 */
export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", es: "Español", ja: "日本語", ar: "العربية" };

/** The reader's own variant of the language, which has the forms of numbers and times: en-GB. */
let language = "en";
/** @type {Record<string, any>} */
let words = {};
let plurals = new Intl.PluralRules("en");
let numbers = new Intl.NumberFormat("en");
const folder = new URL("../words/", import.meta.url);

/** Return the language that the reader chose, or the first of the browser's that there is. */
export function chosenLanguage() {
  const chosen = kept("language");
  if (chosen in LANGUAGES) return chosen;
  const known = navigator.languages.map((name) => name.split("-")[0]).find((name) => name in LANGUAGES);
  return known ?? "en";
}

/** Load the words; the document says its language and direction. */
export async function loadWords(name = chosenLanguage()) {
  const answer = await fetch(new URL(`${name}.json`, folder));
  words = await answer.json();
  language = navigator.languages.find((one) => one.split("-")[0] === name) ?? name;
  plurals = new Intl.PluralRules(name);
  numbers = new Intl.NumberFormat(language);
  document.documentElement.lang = name;
  document.documentElement.dir = name === "ar" ? "rtl" : "ltr";
}

/** Load the words of what is loaded on demand. */
export async function loadMoreWords() {
  const answer = await fetch(new URL(`more/${document.documentElement.lang}.json`, folder));
  words = { ...(await answer.json()), ...words };
}

/**
 * Return the words of a name, with its places filled in. `n` chooses the plural.
 * @param {string} name
 * @param {Record<string, string | number>} places
 */
export function t(name, places = {}) {
  let text = words[name] ?? name;
  if (typeof text === "object") text = text[plurals.select(Number(places.n))] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, place) => {
    const value = places[place];
    return typeof value === "number" ? number(value) : (value ?? whole);
  });
}

/** Write a number as this language does. */
export function number(value, options) {
  return options ? new Intl.NumberFormat(language, options).format(value) : numbers.format(value);
}

/** Write a part of a whole, 0 to 1, in percent. */
export function percent(part) {
  return number(part, { style: "percent", maximumFractionDigits: 0 });
}

/** Write a number of tokens in short, such as 9.4k. */
export function short(value) {
  return number(value, { notation: "compact", maximumFractionDigits: 1 });
}

/** Write a time: of today by the clock, else the day. Seconds since 1970. */
export function moment(seconds) {
  const then = new Date(seconds * 1000);
  const now = new Date();
  if (then.toDateString() === now.toDateString()) return clock(seconds);
  const year = then.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return then.toLocaleDateString(language, { day: "numeric", month: "short", year });
}

/** Write the day in full. */
export function day(seconds) {
  return new Date(seconds * 1000).toLocaleDateString(language, { dateStyle: "long" });
}

/** Write the day in short, without its year. */
export function shortDay(seconds) {
  return new Date(seconds * 1000).toLocaleDateString(language, { day: "numeric", month: "short" });
}

/** Write the time of day. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
}

/** Write day and time in full, for titles. */
export function wholeMoment(seconds) {
  return new Date(seconds * 1000).toLocaleString(language, { dateStyle: "long", timeStyle: "short" });
}

/** Write a length of time in words such as 8 hr 41 min, 12 sec; `unitDisplay` long: 8 hours. */
export function span(seconds, unitDisplay = "short") {
  const whole = Math.max(0, Math.round(seconds));
  const unit = (value, name) => number(value, { style: "unit", unit: name, unitDisplay });
  if (whole < 60) return unit(whole, "second");
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return unit(minutes, "minute");
  const rest = minutes % 60;
  return unit(Math.floor(minutes / 60), "hour") + (rest ? ` ${unit(rest, "minute")}` : "");
}

/** Write the name of a month, with the year unless it is this one. */
export function month(seconds) {
  const then = new Date(seconds * 1000);
  const year = then.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return then.toLocaleDateString(language, { month: "long", year });
}

/** Write several words as a list. */
export function listed(several) {
  return new Intl.ListFormat(language).format(several);
}

/** Compare texts as this language orders them. */
export function compare(one, other) {
  return one.localeCompare(other, language);
}
