// Appearance: colours, width, language, Enter, keys. This browser keeps them.

import { h } from "../lib/dom.js";
import { keep, kept } from "../lib/kept.js";
import { showLook } from "../lib/look.js";
import "../lib/more.js";
import { chosenLanguage, LANGUAGES, t } from "../lib/words.js";

/** Return the content of the part. */
export async function look() {
  const choices = (name, values, fallback, changed) => {
    const now = kept(name, fallback);
    return h("fieldset.field", {}, h("legend.label", {}, t(`look.${name}`)), ...values.map((value) => {
      const input = /** @type {HTMLInputElement} */ (h("input", { type: "radio", name, id: `${name}-${value}`, onchange: () => (keep(name, value), changed?.()) }));
      input.checked = now === value;
      return h("label.row", { for: input.id }, input, t(`look.${name}.${value}`));
    }));
  };
  const language = /** @type {HTMLSelectElement} */ (h("select.in", { id: "language", onchange: () => (keep("language", language.value), location.reload()) },
    ...Object.entries(LANGUAGES).map(([value, words]) => h("option", { value, lang: value }, words))));
  language.value = chosenLanguage();
  return [
    h("h2", { id: "part" }, t("account.look")),
    h("p.dim", {}, t("look.lead")),
    h("div.pairs", {},
      h("div.field", {}, h("label", { for: "language" }, t("look.language")), language),
      choices("theme", ["auto", "light", "dark"], "auto", showLook),
      choices("width", ["36", "42", "60"], "42", showLook),
      choices("enter", ["auto", "send", "ctrl"], "auto")),
  ];
}
