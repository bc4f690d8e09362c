// A conversation that somebody shared, for a reader who need not sign in: nothing of it can be changed here.

import { post } from "../api/client.js";
import { filesOf } from "../chat/attach.js";
import { decorate } from "../chat/decorate.js";
import { notice, noticeOf } from "../chat/notices.js";
import { fileStep } from "../chat/steps.js";
import { Tree } from "../chat/tree.js";
import { h, icon, iconButton } from "../lib/dom.js";
import { showServerHtml } from "../lib/html.js";
import { copy } from "../lib/menu.js";
import "../lib/more.js";
import { moment, number, t, wholeMoment } from "../lib/words.js";

// Messages that are shown in one task, so that no task is long.
const AT_ONCE = 20;

/** Show what a link shows. `secret` goes in bodies of requests only, which nobody logs. */
export function showShared(place, secret) {
  return new Shared(place, secret).load();
}

class Shared {
  constructor(place, secret) {
    this.secret = secret;
    this.cursor = null;
    this.tree = new Tree();
    /** @type {Map<string, HTMLElement>} */
    this.views = new Map();
    this.title = h("h1.cut", { dir: "auto" }, t("shared"));
    this.about = h("p.note.dim.above");
    this.talk = h("div.talk", {}, this.about);
    this.main = h("main.thread", { id: "page", tabindex: -1 }, this.talk);
    const top = h("header.top", {}, icon("share"), this.title);
    place.replaceChildren(h("a.skip", { href: "#page", onclick: (event) => (event.preventDefault(), this.main.focus()) }, t("skip")), h("div.app.list-away", {}, h("div.page", {}, top, this.main)));
    document.title = `${t("shared")} · Jan`;
  }

  /** Read the pages one after another, and show each as it comes. */
  async load() {
    try {
      do {
        const body = { secret: this.secret, include_html: true, cursor: this.cursor ?? undefined };
        const page = await post("shared", body, { quiet: true, credentials: "omit" });
        await this.#show(page);
        this.cursor = page.next_cursor;
      } while (this.cursor);
      this.main.dataset.state = "whole";
    } catch (error) {
      this.#failed(error);
    }
  }

  async #show({ title, expires_at: end, data }) {
    const words = title || t("list.untitled");
    this.title.textContent = words;
    document.title = `${words} · Jan`;
    const seconds = Date.parse(end) / 1000;
    this.about.replaceChildren(h("span", { title: wholeMoment(seconds) }, t("shared.until", { day: moment(seconds) })));
    for (let from = 0; from < data.length; from += AT_ONCE) {
      if (this.views.size) await new Promise((next) => setTimeout(next));
      this.tree.add(data.slice(from, from + AT_ONCE));
      this.#sync();
    }
  }

  #failed(error) {
    const gone = error.status === 404 && notice("info", "", t("shared.gone"), t("shared.goneText"));
    const said = h("div.gap", {}, gone || noticeOf(error, { retry: () => (said.remove(), this.load()) }));
    this.talk.append(said);
    if (gone) this.about.hidden = true;
    this.main.dataset.state = "failed";
  }

  /** Show the branch that is read; what is there already stays. */
  #sync() {
    const shown = this.tree.path().filter((message) => message.texts.length || message.left_out);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, view] of this.views) if (!ids.has(id)) view.remove();
    let after = this.about;
    for (const message of shown) {
      let view = this.views.get(message.id);
      if (!view) this.views.set(message.id, (view = this.#view(message)));
      const all = this.tree.versions(message.id);
      const version = `${all.indexOf(message.id) + 1}/${all.length}`;
      if (view.dataset.version !== version) {
        view.dataset.version = version;
        view.querySelector(".ways")?.remove();
        if (all.length > 1) view.querySelector(".acts").prepend(this.#ways(message, all));
      }
      if (after.nextElementSibling !== view) after.after(view);
      after = view;
    }
  }

  #view(message) {
    const own = message.role === "user";
    const name = own ? t("shared.question") : (message.model ?? t("answer"));
    const time = h("time", { datetime: new Date(message.created_at * 1000).toISOString(), title: wholeMoment(message.created_at) }, moment(message.created_at));
    const element = h(own ? "article.msg.you" : "article.msg", { "aria-label": own ? name : t("message.answer", { model: message.model ?? "" }), tabindex: -1 });
    if (message.role !== "user" && message.role !== "assistant") {
      element.append(h("header.who"), this.#system(message));
      return element;
    }
    const text = h("div.text", { dir: "auto" });
    const acts = h("div.acts", {}, iconButton("copy", t("message.copy"), () => copy(message.texts.join("\n\n"))));
    if (message.left_out) acts.append(h("span", {}, t("shared.left", { n: message.left_out })));
    element.append(h("header.who", {}, h("b.cut", {}, name), time), ...(own ? [h("div.own", {}, text, acts)] : [text, acts]));
    if (own) this.#fillOwn(text, message);
    else {
      showServerHtml(text, (message.blocks ?? []).map(({ html }) => html).join(""));
      decorate(text);
    }
    return element;
  }

  #fillOwn(text, message) {
    const { words, files } = filesOf(message.texts.map((one) => ({ text: one })));
    text.append(h("p.raw", {}, words), ...files.map(({ name, text: inside }) => fileStep(name, inside)));
  }

  #system(message) {
    const summary = h("summary", {}, icon("set"), h("span", {}, t("system")), h("span.tail", {}, icon("on", true)));
    const inside = h("div", { tabindex: 0, role: "group", "aria-label": t("system") }, h("p.raw", {}, message.texts.join("\n\n")));
    return h("div", {}, h("div.steps", {}, h("details.step", {}, summary, inside)), h("div.acts"));
  }

  #ways(message, all) {
    const at = all.indexOf(message.id);
    const label = t("message.version", { n: at + 1, all: all.length });
    const step = (to, name, picture) => iconButton(picture, name, () => this.#choose(all[to]), { turns: true, disabled: to < 0 || to >= all.length });
    return h("span.ways", { role: "group", "aria-label": label }, step(at - 1, t("message.earlier"), "back"), h("bdi", {}, `${number(at + 1)}/${number(all.length)}`), step(at + 1, t("message.later"), "on"));
  }

  #choose(id) {
    this.tree.choose(id);
    this.#sync();
    this.views.get(id)?.focus({ preventScroll: true });
  }
}
