// The messages of a conversation, as they are read.

import { button, h } from "../lib/dom.js";
import { keep, kept } from "../lib/kept.js";
import { t } from "../lib/words.js";
import { MessageView } from "./message.js";
import { Parts } from "./parts.js";
import { Scrolling } from "./scroll.js";

const LEAST_QUESTIONS = 3;
const BAR = 64;
const FOOT = 116;
const GAPS = 56;
// Where the eye is: this share of the window's height.
const READ = 0.4;
const PAGES_TO_PLACE = 2;
// New messages in a task, so that no task is long.
const AT_ONCE = 20;

export class Thread extends HTMLElement {
  /** Show a conversation. `acts` is what its messages can be told to do. */
  show(conversation, acts) {
    this.conversation = conversation;
    this.acts = acts;
    /** By the keys of their messages. @type {Map<string, MessageView>} */
    this.views = new Map();
    this.rest = 0;
    this.off = new AbortController();
    const { signal } = this.off;
    this.parts = new Parts();
    /** The links to the questions, once there are enough of them. @type {import("./questions.js").Questions | null} */
    this.questions = null;
    this.above = h("p.note.dim.above", { hidden: true });
    this.end = h("div.end-of-text");
    this.talk = h("div.talk", {}, this.above, this.parts.element, this.end);
    this.replaceChildren(this.talk);
    this.jump = button(t("thread.newest"), () => this.scrolling.follow(), { kind: "b.tiny.jump", picture: "down", hidden: true });
    this.scrolling = new Scrolling(signal, () => this.#moved());
    conversation.addEventListener("path", () => this.sync(), { signal });
    conversation.addEventListener("named", (event) => this.views.get(keyOf(event.message))?.refresh(), { signal });
    this.addEventListener("grown", () => this.scrolling.grown(), { signal });
    addEventListener("pagehide", () => this.#rememberPlace(), { signal });
    this.watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.#more(), { rootMargin: "1200px" });
    this.watcher.observe(this.above);
    this.sync();
  }

  disconnectedCallback() {
    this.#rememberPlace();
    clearTimeout(this.rest);
    this.off?.abort();
    this.watcher?.disconnect();
    this.jump?.remove();
  }

  /** Show the branch that is read. Messages that stay are not touched; many new ones come a few in a task, the
   *  newest first. */
  sync() {
    clearTimeout(this.rest);
    this.path = this.conversation.tree.path();
    const wanted = new Set(this.path.map(keyOf));
    const gone = [...this.views].filter(([key]) => !wanted.has(key));
    for (const [key] of gone) this.views.delete(key);
    this.parts.take(gone.map(([, view]) => view.element));
    /** How many of the path's messages are not looked at yet: those at its beginning. */
    this.left = this.path.length;
    this.parts.begin();
    this.#fill();
  }

  /** Put messages above each other, the last one first, as many as one task may have. */
  #fill() {
    this.rest = 0;
    const top = this.#topmost();
    for (let fresh = 0; this.left; this.left -= 1) {
      const message = this.path[this.left - 1];
      let view = this.views.get(keyOf(message));
      if (view) view.refresh();
      else if (fresh === AT_ONCE) break;
      else {
        fresh += 1;
        view = new MessageView(message, this.acts);
        this.views.set(keyOf(message), view);
      }
      this.parts.put(view.element, message.sequence);
    }
    top?.restore();
    this.above.hidden = Boolean(this.left) || !this.conversation.older;
    this.above.textContent = t("thread.loading");
    if (this.left) this.rest = setTimeout(() => this.#fill());
    else {
      this.#listQuestions().catch(() => {});
      this.dispatchEvent(new Event("whole"));
    }
  }

  async #listQuestions() {
    if (!this.questions && this.path.filter(({ role }) => role === "user").length < LEAST_QUESTIONS) return;
    const { Questions } = await import("./questions.js");
    if (!this.questions) this.talk.append((this.questions = new Questions(t("thread.questions"), LEAST_QUESTIONS)).element);
    this.questions.show(this.path, keyOf);
  }

  /** Note where the first message in sight is, since older ones may be put above it. */
  #topmost() {
    const first = this.parts.at(0);
    if (!first) return null;
    const before = first.getBoundingClientRect().top;
    return { restore: () => first.isConnected && scrollBy({ top: first.getBoundingClientRect().top - before, behavior: "instant" }) };
  }

  /** Return the first message that is not hidden by the bar at the top, null if there is none. */
  get first() {
    return this.#viewOf(this.parts.at(BAR));
  }

  #viewOf(element) {
    return element && this.views.get(element.id.slice(2));
  }

  async #more() {
    if (this.conversation.older) await this.conversation.loadOlder().catch(() => {});
  }

  /** Judge once a frame, since it measures. */
  #moved() {
    this.due ||= requestAnimationFrame(() => {
      this.due = 0;
      if (!this.isConnected) return;
      this.jump.hidden = this.scrolling.following || !this.conversation.answers.size || !this.#isEndBelow();
      const { first } = this;
      if (!first) return;
      this.place = placeOf(first);
      this.questions?.mark(this.#viewOf(this.parts.below(first.element, innerHeight * READ)).message);
    });
  }

  #isEndBelow() {
    const foot = document.querySelector(".foot")?.getBoundingClientRect().top ?? innerHeight;
    return this.end.getBoundingClientRect().top > foot + 8;
  }

  /** Bring a new question to the top of the window, with room below for its answer. */
  bring(question) {
    const view = this.views.get(keyOf(question));
    if (!view) return;
    this.newest?.classList.remove("newest");
    this.newest = this.views.get(keyOf(this.path.at(-1))).element;
    this.newest.classList.add("newest");
    // The field is as low as when it is empty, which it will be in a moment.
    const foot = Math.min(FOOT, document.querySelector(".foot").offsetHeight);
    const free = innerHeight - foot - document.querySelector(".top").offsetHeight;
    this.talk.style.setProperty("--kept", `${Math.max(0, free - view.element.offsetHeight - GAPS)}px`);
    view.element.scrollIntoView({ block: "start", behavior: "instant" });
  }

  /** Keep the place for the next visit, as it was when the reader scrolled last. */
  #rememberPlace() {
    if (this.conversation?.id && this.place) keep(`place.${this.conversation.id}`, this.place);
  }

  /** Go to where the reader was, or to the end; once more when all is shown, unless the reader moved. */
  async restore(messageId) {
    const place = messageId ? { m: messageId, y: BAR } : placeIn(this.conversation.id);
    const go = () => this.#scrollTo(place && this.conversation.tree.messages.get(place.m), place);
    go();
    const before = this.scrolling.moves;
    if (this.rest) await new Promise((done) => this.addEventListener("whole", done, { once: true }));
    await Promise.all([...this.views.values()].map(({ ready }) => ready));
    if (this.scrolling.moves === before && this.isConnected) go();
  }

  #scrollTo(message, place) {
    const view = message && this.views.get(keyOf(message));
    if (view) scrollBy({ top: view.element.getBoundingClientRect().top - place.y, behavior: "instant" });
    else scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  }
}

/** Return where the reader left a conversation: a message and its height in the window; null if nobody knows. */
function placeIn(id) {
  return kept(`place.${id}`);
}

/** Read older messages up to the one that a link names, or up to where the reader was, unless that is far. */
export async function reachPlace(conversation, linked) {
  if (linked) await conversation.reach(linked);
  else await conversation.reach(placeIn(conversation.id)?.m, PAGES_TO_PLACE).catch(() => {});
}

function placeOf({ message, element }) {
  return { m: message.id, y: Math.round(element.getBoundingClientRect().top) };
}

function keyOf(message) {
  return message.key ?? message.id;
}

customElements.define("jan-thread", Thread);
