// Elements without templates or innerHTML: text can only become text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} name of the tag, with classes after dots: "button.b.quiet"
 * @param {Record<string, any>} given attributes; `on…` are listeners, a property of false, null or undefined is left out
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(name, given = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child || child === ""));
  return element;
}

/** Make a picture of the document's sprite. One that turns shows a direction, which is the other one in Arabic. */
export function icon(name, turns = false) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", turns ? "i turn" : "i");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Make a button with a picture; its words are its name and its title. */
export function iconButton(name, words, onclick, given = {}) {
  const { kind = "b.quiet.tiny.icon", turns = false, ...rest } = given;
  return h(`button.${kind}`, { type: "button", "aria-label": words, title: words, onclick, ...rest }, icon(name, turns));
}

/** Make a button with words, and a picture before them if `picture` names one. */
export function button(words, onclick, given = {}) {
  const { kind = "b", picture = "", ...rest } = given;
  return h(`button.${kind}`, { type: "button", onclick, ...rest }, picture && icon(picture), words);
}

/** Make a bar that shows a part of a whole. `kind`: "near" or "full" where that is worth a colour. */
export function meter(words, value, most, kind = "") {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, set] of Object.entries({ viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" }))
    svg.setAttribute(key, set);
  if (kind) svg.setAttribute("class", kind);
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("width", most ? String(Math.min(100, (100 * value) / most)) : "0");
  rect.setAttribute("height", "1");
  svg.append(rect);
  const range = { "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": Math.min(value, most) };
  return h("span.meter", { role: "meter", "aria-label": words, ...range }, svg);
}

/** Make any element of SVG. */
export function svg(name, given, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(given)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
