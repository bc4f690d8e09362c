// The messages of a conversation, as they are read.

import { button, h } from "../lib/dom.js";
import { keep, kept } from "../lib/kept.js";
import { t } from "../lib/words.js";
import { MessageView } from "./message.js";
import { Scrolling } from "./scroll.js";
import { textOf } from "./tree.js";

const LEAST_QUESTIONS = 3;
const ASKED_LENGTH = 80;
const FOOT = 116;
const GAPS = 56;

export class Thread extends HTMLElement {
  /** Show a conversation. `acts` is what its messages can be told to do. */
  show(conversation, acts) {
    this.conversation = conversation;
    this.acts = acts;
    /** @type {Map<string, MessageView>} */
    this.views = new Map();
    this.off = new AbortController();
    const { signal } = this.off;
    this.talk = h("div.talk");
    this.asked = h("nav.asked", { "aria-label": t("thread.questions"), hidden: true }, h("div"));
    this.above = h("p.note.dim.above", { hidden: true });
    this.end = h("div.end-of-text");
    this.replaceChildren(this.talk);
    this.talk.append(this.above, this.end, this.asked);
    this.jump = button(t("thread.newest"), () => this.scrolling.follow(), { kind: "b.tiny.jump", picture: "down", hidden: true });
    this.scrolling = new Scrolling(signal, () => this.#showJump());
    conversation.addEventListener("path", () => this.sync(), { signal });
    conversation.addEventListener("named", () => this.views.forEach((view) => view.refresh()), { signal });
    this.addEventListener("grown", () => this.scrolling.grown(), { signal });
    addEventListener("pagehide", () => this.#rememberPlace(), { signal });
    this.watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.#more(), { rootMargin: "1200px" });
    this.watcher.observe(this.above);
    this.reader = new IntersectionObserver((entries) => this.#mark(entries), { rootMargin: "-64px 0px -60% 0px" });
    this.sync();
  }

  disconnectedCallback() {
    this.#rememberPlace();
    this.off?.abort();
    this.watcher?.disconnect();
    this.reader?.disconnect();
    this.jump?.remove();
  }

  /** Show the branch that is read. Messages that stay are not touched. */
  sync() {
    const path = this.conversation.tree.path();
    const wanted = new Set(path.map((message) => message.key ?? message.id));
    for (const [key, view] of this.views) {
      if (wanted.has(key)) continue;
      view.element.remove();
      this.views.delete(key);
    }
    const top = this.#topmost();
    let before = this.above;
    for (const message of path) {
      const key = message.key ?? message.id;
      let view = this.views.get(key);
      if (!view) this.views.set(key, (view = new MessageView(message, this.acts)));
      else view.refresh();
      if (before.nextElementSibling !== view.element) before.after(view.element);
      before = view.element;
    }
    top?.restore();
    this.above.hidden = !this.conversation.older;
    this.above.textContent = t("thread.loading");
    this.#listQuestions(path);
    this.dispatchEvent(new Event("synced"));
  }

  /** Note where the first message in sight is, since older ones may be put above it. */
  #topmost() {
    const first = [...this.views.values()].map((view) => view.element).find((element) => element.getBoundingClientRect().bottom > 0);
    if (!first) return null;
    const before = first.getBoundingClientRect().top;
    return { restore: () => first.isConnected && scrollBy({ top: first.getBoundingClientRect().top - before, behavior: "instant" }) };
  }

  async #more() {
    if (this.conversation.older) await this.conversation.loadOlder().catch(() => {});
  }

  #listQuestions(path) {
    const questions = path.filter((message) => message.role === "user");
    this.asked.hidden = questions.length < LEAST_QUESTIONS;
    if (this.asked.hidden) return;
    const links = questions.map((message) => h("a", { href: `#m-${message.key ?? message.id}`, dir: "auto" }, textOf(message).slice(0, ASKED_LENGTH)));
    this.asked.firstElementChild.replaceChildren(...links);
    this.reader.disconnect();
    for (const message of questions) this.reader.observe(this.views.get(message.key ?? message.id).element);
  }

  #mark(entries) {
    const seen = entries.find((entry) => entry.isIntersecting);
    if (!seen) return;
    for (const link of this.asked.querySelectorAll("a")) link.toggleAttribute("aria-current", link.hash === `#${seen.target.id}`);
    this.asked.querySelector("a[aria-current]")?.setAttribute("aria-current", "true");
  }

  #showJump() {
    const isWriting = [...this.views.values()].some(({ message }) => message.live && !message.live.done);
    const foot = document.querySelector(".foot")?.getBoundingClientRect().top ?? innerHeight;
    const below = this.end.getBoundingClientRect().top > foot + 8;
    this.jump.hidden = this.scrolling.following || !below || !isWriting;
  }

  /** Bring a new question to the top of the window, with room below for its answer. */
  bring(question) {
    const view = this.views.get(question.key ?? question.id);
    if (!view) return;
    for (const element of this.talk.querySelectorAll(".msg.newest")) element.classList.remove("newest");
    [...this.views.values()].at(-1).element.classList.add("newest");
    // The field is as low as when it is empty, which it will be in a moment.
    const foot = Math.min(FOOT, document.querySelector(".foot").offsetHeight);
    const free = innerHeight - foot - document.querySelector(".top").offsetHeight;
    this.talk.style.setProperty("--kept", `${Math.max(0, free - view.element.offsetHeight - GAPS)}px`);
    view.element.scrollIntoView({ block: "start", behavior: "instant" });
  }

  #rememberPlace() {
    const { id } = this.conversation ?? {};
    if (!id) return;
    const first = [...this.views.values()].find((view) => view.element.getBoundingClientRect().bottom > 64);
    if (first) keep(`place.${id}`, { m: first.message.id, y: Math.round(first.element.getBoundingClientRect().top) });
  }

  /** Go to where the reader was, or to the end. */
  restore(messageId) {
    const place = messageId ? { m: messageId, y: 64 } : kept(`place.${this.conversation.id}`);
    const all = [...this.views.values()];
    const view = place && all.find(({ message }) => message.id === place.m);
    this.#scrollTo(view, place);
    const before = this.scrolling.moves;
    Promise.all(all.map(({ ready }) => ready)).then(() => this.scrolling.moves === before && this.#scrollTo(view, place));
  }

  #scrollTo(view, place) {
    if (view) scrollBy({ top: view.element.getBoundingClientRect().top - place.y, behavior: "instant" });
    else scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  }
}

customElements.define("jan-thread", Thread);
