// One message: its words, and what can be done with it.

import { button, h, icon, iconButton } from "../lib/dom.js";
import { copy, openMenu, say } from "../lib/menu.js";
import { clock, number, percent, span, t, wholeMoment } from "../lib/words.js";
import { filesOf } from "./attach.js";
import { showMarkdown } from "./render.js";
import { fileStep, resultStep, Steps } from "./steps.js";
import { summaryIn } from "./summary-note.js";
import { textOf } from "./tree.js";
import { Writer } from "./writer.js";

const LETTERS_OF_A_TOKEN = 3.6;

/** Say what a running answer is at. */
function stateOf({ retrying, stopping, loading, state, place }) {
  if (retrying) return t("state.retrying");
  if (stopping) return t("state.stopping");
  if (loading !== null) return loading ? t("state.loadingPart", { part: percent(loading) }) : t("state.loading");
  return state === "queued" && place ? t("state.place", { n: place }) : t(`state.${state}`);
}

/** @typedef {{edit, again, goOn, fork, version, versions, ask, resend}} Acts what a conversation does for its messages */

export class MessageView {
  /** @param {import("./tree.js").Message} message @param {any} acts */
  constructor(message, acts) {
    this.message = message;
    this.acts = acts;
    const own = message.role === "user";
    const words = own ? t("message.yours") : t("message.answer", { model: message.model ?? "" });
    this.element = h(own ? "article.msg.you" : "article.msg", { "aria-label": words, id: `m-${message.key ?? message.id}`, tabindex: -1 });
    this.element.dataset.id = message.id;
    this.who = h("header.who", {}, h("b.cut", {}, own ? t("you") : (message.model ?? t("answer"))), this.#time());
    this.text = h("div.text", { dir: "auto" });
    this.buttons = h("div.acts");
    this.state = h("p.state", { hidden: true });
    /** Settled when all of it is shown. */
    this.ready = Promise.resolve();
    const summary = summaryIn(message);
    /** What nobody asks or answers has no buttons. */
    this.fixed = summary !== null || message.role === "system" || message.role === "tool";
    if (summary !== null) this.#buildFolded("branch", t("summary"), summary, acts.summary?.());
    else if (message.role === "tool") this.#buildResult();
    else if (this.fixed) this.#buildFolded("set", t("system"), textOf(message));
    else if (own) this.#buildOwn();
    else this.#buildAnswer();
    this.refresh();
  }

  #time() {
    const { created_at: at } = this.message;
    return h("time", { datetime: new Date(at * 1000).toISOString(), title: wholeMoment(at) }, clock(at));
  }

  #buildOwn() {
    const { words, files } = filesOf(this.message.content);
    this.text.append(h("p.raw", {}, words));
    for (const { name, text } of files) this.text.append(fileStep(name, text));
    this.element.append(this.who, h("div.own", {}, this.text, this.buttons), this.state);
  }

  /** Show a text folded, with a note below it. */
  #buildFolded(picture, title, text, note) {
    const inside = h("div", { tabindex: 0, role: "group", "aria-label": title }, h("p.raw", { dir: "auto" }, text));
    const summary = h("summary", {}, icon(picture), h("span", {}, title), h("span.dim.cut", { dir: "auto" }, text), h("span.tail", {}, icon("on", true)));
    this.element.append(this.who, h("div.steps", {}, h("details.step", {}, summary, inside)), note ?? "");
    this.who.replaceChildren();
  }

  #buildResult() {
    this.element.setAttribute("aria-label", t("step.result"));
    this.who.replaceChildren();
    this.element.append(this.who, resultStep(textOf(this.message)));
  }

  #buildAnswer() {
    this.steps = new Steps();
    this.element.append(this.who, this.steps.element, this.text, this.state, this.buttons);
    const { live } = this.message;
    if (live && !live.done) this.#follow(live);
    else {
      if (live) this.steps.follow(live);
      else this.steps.show(this.message);
      const text = textOf(this.message);
      if (text) this.ready = showMarkdown(this.text, text).then(() => this.#grown());
    }
  }

  #grown() {
    this.element.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  }

  /** Follow a running answer until its end. */
  #follow(answer) {
    const writer = new Writer(this.text, answer);
    this.element.setAttribute("aria-busy", "true");
    answer.addEventListener("text", () => writer.schedule());
    let said = "";
    answer.addEventListener("change", () => {
      this.steps.follow(answer);
      this.#showState(answer);
      const words = { queued: answer.place ? t("state.place", { n: answer.place }) : t("state.queued"), thinking: t("step.thinking"), writing: t("state.writing") }[answer.state];
      if (words && words !== said) say((said = words));
    });
    answer.addEventListener("end", () => {
      this.element.removeAttribute("aria-busy");
      clearInterval(timer);
      if (answer.state === "refused") return;
      const isWhole = answer.text && writer.end();
      if (answer.text && !isWhole) showMarkdown(this.text, answer.text).then(() => this.#grown());
      this.steps.follow(answer);
      this.refresh();
      if (answer.state === "complete") say(t("state.ready", { n: answer.usage?.completion_tokens ?? 0 }));
    });
    const timer = setInterval(() => this.#showState(answer), 1000);
    if (answer.text) writer.schedule();
    this.steps.follow(answer);
    this.#showState(answer);
  }

  #showState(answer) {
    if (answer.done) return;
    const facts = [];
    const seconds = (performance.now() - answer.began) / 1000;
    if (answer.state === "queued" && answer.wait !== null) facts.push(t("state.about", { time: span(answer.wait) }));
    else if (seconds > 1) facts.push(span(seconds));
    const letters = answer.text.length + answer.reasoning.length;
    if (letters) facts.push(t("state.tokens", { n: Math.ceil(letters / LETTERS_OF_A_TOKEN) }));
    this.state.hidden = false;
    const dim = facts.length ? h("span.dim", {}, h("bdi", {}, ` · ${facts.join(" · ")}`)) : null;
    this.state.replaceChildren(h("span.dot.busy"), h("span", {}, stateOf(answer), dim));
  }

  /** Show buttons and state as the message is now; nothing is done where they are so already. */
  refresh() {
    const { message } = this;
    const all = this.acts.versions(message.id);
    const now = [message.id, all.indexOf(message.id), all.length, message.live?.state, message.status].join(" ");
    if (now === this.shown) return;
    this.shown = now;
    this.element.dataset.id = message.id;
    if (this.fixed) return;
    const live = message.live && !message.live.done;
    this.buttons.replaceChildren(...(live ? [] : this.#buttons()));
    if (!live) this.#showEnd();
  }

  #buttons() {
    const { message, acts } = this;
    const all = acts.versions(message.id);
    const own = message.role === "user";
    const more = iconButton("more", t("more"), () => openMenu(more, this.#moreEntries()), { "aria-haspopup": "menu" });
    return [
      all.length > 1 && this.#ways(all),
      own && iconButton("pen", t("message.edit"), () => acts.edit(message.id)),
      iconButton("copy", t("message.copy"), () => copy(this.copied)),
      !own && iconButton("again", t("message.again"), () => acts.again(message.parent_id)),
      more,
      !own && this.#facts(),
    ].filter(Boolean);
  }

  /** The message as Markdown. */
  get copied() {
    return this.message.live?.text || textOf(this.message);
  }

  #moreEntries() {
    const { message, acts } = this;
    const own = message.role === "user";
    return [
      own ? { words: t("message.again"), picture: "again", act: () => acts.again(message.id) } : null,
      own ? null : { words: t("message.goOn"), picture: "pen", act: () => acts.goOn(message.id) },
      acts.fork && { words: t("message.fork"), picture: "branch", act: () => acts.fork(message.id) },
      acts.link && { words: t("message.link"), picture: "copy", act: () => copy(acts.link(message.id)) },
    ];
  }

  #ways(all) {
    const at = all.indexOf(this.message.id);
    const label = t("message.version", { n: at + 1, all: all.length });
    const step = (to, name, picture) =>
      iconButton(picture, name, () => this.acts.version(all[to]), { turns: true, disabled: to < 0 || to >= all.length });
    return h("span.ways", { role: "group", "aria-label": label }, step(at - 1, t("message.earlier"), "back"), h("bdi", {}, `${number(at + 1)}/${number(all.length)}`), step(at + 1, t("message.later"), "on"));
  }

  #facts() {
    const { usage, live } = this.message;
    const tokens = (live?.usage ?? usage)?.completion_tokens;
    if (!tokens) return null;
    const parts = [t("tokens", { n: tokens })];
    if (live?.rate) parts.push(t("rate", { n: Math.round(live.rate) }));
    const first = live?.firstToken && !live.resumed ? t("facts.first", { n: Math.round(live.firstToken - live.began) }) : null;
    return h("bdi.facts", { title: first }, parts.join(" · "));
  }

  #showEnd() {
    const { message, acts } = this;
    const state = message.live?.state ?? { partial: "stopped", failed: "failed" }[message.status] ?? (message.finish_reason === "length" ? "cut" : "complete");
    const own = message.role === "user";
    this.state.hidden = own || state === "complete";
    if (this.state.hidden) return;
    const error = message.live?.error;
    const words = error?.message ?? t(`end.${state}`);
    const goOn = (state === "stopped" || state === "cut") && this.copied && button(t("message.goOn"), () => acts.goOn(message.id), { kind: "b.tiny" });
    const again = button(t("message.again"), () => acts.again(message.parent_id), { kind: "b.quiet.tiny", picture: "again" });
    const bad = state === "failed" || state === "refused";
    this.state.replaceChildren(icon(bad ? "alert" : "info"), h(bad ? "span.bad" : "span", { role: bad ? "alert" : null }, words), goOn || "", again);
  }
}
