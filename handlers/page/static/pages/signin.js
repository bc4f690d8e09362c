// Signing in: by the provider, or with an API key.

import { serverUrl } from "../api/client.js";
import { signIn } from "../api/session.js";
import { h, icon } from "../lib/dom.js";
import { t } from "../lib/words.js";

/** Show the screen; `done` is called with the person. `note` says why it is shown. */
export function showSignIn(place, done, { note = "", provider = true } = {}) {
  const field = /** @type {HTMLInputElement} */ (h("input.in", { id: "key", type: "password", autocomplete: "current-password", name: "key", required: true, spellcheck: "false" }));
  const problem = h("p.small.bad.row", { id: "key-problem", role: "alert", hidden: true });
  const submit = h("button.b", { type: "submit" }, t("signin.do"));
  const form = h("form", { onsubmit: enter }, h("div.field", {}, h("label", { for: "key" }, t("signin.key")), field, problem), submit, h("p.note.dim", {}, t("signin.where")));
  const parts = [h("div.lead", {}, h("h1", {}, t("signin.title")), h("p", {}, location.host), note && h("p.note", { role: "status" }, note))];
  if (provider)
    parts.push(h("div.gap", {}, h("a.b.main", { href: serverUrl("auth/google").href }, icon("user"), t("signin.provider"))), h("div.or", {}, t("or")));
  const footer = h("footer.note.dim.row.wrap", {}, h("a.dim", { href: serverUrl("api/swagger/index.html").href }, t("signin.reference")));
  place.replaceChildren(h("div.alone", {}, h("main", { id: "page", tabindex: -1 }, ...parts, form), footer));
  document.title = `${t("signin.do")} · Jan`;
  field.focus();

  async function enter(event) {
    event.preventDefault();
    submit.setAttribute("aria-disabled", "true");
    try {
      done(await signIn({ credential: field.value.trim() }));
    } catch (error) {
      const words = { 401: t("signin.wrong"), 429: t("signin.often") }[error.status];
      problem.replaceChildren(icon("alert"), words ?? error.message);
      problem.hidden = false;
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", "key-problem");
      field.select();
    } finally {
      submit.removeAttribute("aria-disabled");
    }
  }
}
