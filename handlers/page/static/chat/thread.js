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
// New messages in a task, so that no task is long.
const AT_ONCE = 20;

export class Thread extends HTMLElement {
  /** Show a conversation. `acts` is what its messages can be told to do. */
  show(conversation, acts) {
    this.conversation = conversation;
    this.acts = acts;
    /** @type {Map<string, MessageView>} */
    this.views = new Map();
    /** The links to questions, in the margin. @type {Map<string, HTMLElement>} */
    this.links = new Map();
    this.rest = 0;
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
    clearTimeout(this.rest);
    this.off?.abort();
    this.watcher?.disconnect();
    this.reader?.disconnect();
    this.jump?.remove();
  }

  /** Show the branch that is read. Messages that stay are not touched; many new ones come a few in a task, the
   *  newest first. */
  sync() {
    clearTimeout(this.rest);
    this.rest = 0;
    const path = this.conversation.tree.path();
    const wanted = new Set(path.map(keyOf));
    for (const [key, view] of this.views) if (!wanted.has(key)) view.element.remove();
    const top = this.#topmost();
    const left = this.#place(path.reverse());
    top?.restore();
    this.above.hidden = left || !this.conversation.older;
    this.above.textContent = t("thread.loading");
    this.#listQuestions();
    if (left) this.rest = setTimeout(() => this.sync());
    else this.dispatchEvent(new Event("whole"));
  }

  /** Put messages above each other, the last one first. Returns whether some are left for another task. */
  #place(path) {
    const shown = [];
    let fresh = 0;
    let after = this.end;
    for (const message of path) {
      const key = keyOf(message);
      let view = this.views.get(key);
      if (view) view.refresh();
      else if (fresh === AT_ONCE) continue;
      else {
        fresh += 1;
        view = new MessageView(message, this.acts);
      }
      if (after.previousElementSibling !== view.element) after.before(view.element);
      after = view.element;
      shown.push([key, view]);
    }
    this.views = new Map(shown.reverse());
    return shown.length < path.length;
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

  #listQuestions() {
    const questions = [...this.views].filter(([, { message }]) => message.role === "user").reverse();
    this.asked.hidden = questions.length < LEAST_QUESTIONS;
    if (this.asked.hidden) return;
    const before = this.links;
    this.links = new Map();
    let after = null;
    for (const [key, view] of questions) {
      const link = before.get(key) ?? this.#linkTo(key, view);
      if (link.parentNode === null || link.nextElementSibling !== after) this.asked.firstElementChild.insertBefore(link, after);
      after = link;
      this.links.set(key, link);
    }
    for (const [key, link] of before) if (!this.links.has(key)) link.remove();
  }

  #linkTo(key, { element, message }) {
    this.reader.observe(element);
    return h("a", { href: `#m-${key}`, dir: "auto" }, textOf(message).slice(0, ASKED_LENGTH));
  }

  #mark(entries) {
    const seen = entries.find((entry) => entry.isIntersecting);
    if (!seen) return;
    this.marked?.removeAttribute("aria-current");
    this.marked = this.links.get(seen.target.id.slice(2));
    this.marked?.setAttribute("aria-current", "true");
  }

  /** Judge once a frame, since it measures. */
  #showJump() {
    this.due ||= requestAnimationFrame(() => {
      this.due = 0;
      this.#judgeJump();
    });
  }

  #judgeJump() {
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

  /** Go to where the reader was, or to the end; once more when all is shown, unless the reader moved. */
  async restore(messageId) {
    const place = messageId ? { m: messageId, y: 64 } : kept(`place.${this.conversation.id}`);
    const go = () => this.#scrollTo(place && [...this.views.values()].find(({ message }) => message.id === place.m), place);
    go();
    const before = this.scrolling.moves;
    if (this.rest) await new Promise((done) => this.addEventListener("whole", done, { once: true }));
    await Promise.all([...this.views.values()].map(({ ready }) => ready));
    if (this.scrolling.moves === before && this.isConnected) go();
  }

  #scrollTo(view, place) {
    if (view) scrollBy({ top: view.element.getBoundingClientRect().top - place.y, behavior: "instant" });
    else scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  }
}

function keyOf(message) {
  return message.key ?? message.id;
}

customElements.define("jan-thread", Thread);
