// What came before the text of an answer: waiting, thinking, calls of tools. One line each, folded.

import { h, icon } from "../lib/dom.js";
import { span, t } from "../lib/words.js";
import { callsOf } from "./tree.js";

const PREVIEW = 120;

/** Make a step that can be opened. `content` is made when it is. */
function fold(picture, title, about, tail, content) {
  const inside = h("div", { tabindex: 0, role: "group", "aria-label": title });
  const summary = h("summary", {}, icon(picture), h("span", {}, title), h("span.dim.cut", { dir: "auto" }, about), h("span.tail", {}, tail, icon("on", true)));
  const details = h("details.step", {}, summary, inside);
  details.addEventListener("toggle", () => details.open && inside.replaceChildren(...content()));
  return details;
}

/** Make the step of a file that went with a question. */
export function fileStep(name, text) {
  return h("div.steps", {}, fold("clip", name, "", t("files.letters", { n: text.length }), () => [h("pre", {}, text)]));
}

/** Make the steps of a result that a tool gave. */
export function resultStep(text) {
  return h("div.steps", {}, fold("tool", t("step.result"), text.slice(0, PREVIEW), "", () => [h("pre", {}, text)]));
}

/** The steps of one answer, running or stored. */
export class Steps {
  constructor() {
    this.element = h("div.steps", { hidden: true });
    this.waited = null;
    this.thought = null;
    this.left = null;
  }

  /** Show the steps of a running answer as they are now. */
  follow(answer) {
    if (answer.leftOut && !this.left) {
      this.left = h("div.step", {}, h("p", {}, icon("info"), h("span", {}, t("step.leftOut", { n: answer.leftOut }))));
      this.element.prepend(this.left);
    }
    if (answer.places.length && answer.firstToken && !this.waited) this.#waited(answer);
    if (answer.reasoning) this.#thought(answer);
    if (answer.calls.length) this.#calls(answer.calls);
    this.element.hidden = !this.element.childElementCount;
  }

  /** Show the steps of a stored answer. How long it thought is not stored, only how many tokens. */
  show({ reasoning_content: reasoning, usage, tool_calls: calls }) {
    const tokens = usage?.completion_tokens_details?.reasoning_tokens;
    if (reasoning) this.element.append(fold("thought", t("step.thought"), "", tokens ? t("tokens", { n: tokens }) : "", () => [h("p.raw", { dir: "auto" }, reasoning)]));
    if (calls?.length) this.#calls(callsOf(calls));
    this.element.hidden = !this.element.childElementCount;
  }

  #waited(answer) {
    const seconds = (answer.firstToken - answer.began) / 1000;
    const places = h("span.dim.cut", {}, t("step.places", { places: answer.places.join(", ") }));
    this.waited = h("div.step", {}, h("p", {}, icon("clock"), h("span", {}, t("step.waited", { time: span(seconds) })), places));
    this.element.prepend(this.waited);
  }

  #thought(answer) {
    if (!this.thought) {
      this.text = document.createTextNode("");
      this.thought = fold("thought", t("step.thinking"), "", "", () => [h("p.raw", {}, this.text)]);
      this.element.append(this.thought);
    }
    this.text.appendData(answer.reasoning.slice(this.text.length));
    const over = answer.thoughtEnd || answer.done;
    const [, title, , tail] = this.thought.firstElementChild.children;
    title.textContent = t(over ? "step.thought" : "step.thinking");
    // Of an answer that began before this page did, the time is not known.
    if (answer.resumed) return;
    const seconds = ((answer.thoughtEnd || answer.ended || performance.now()) - answer.firstToken) / 1000;
    tail.firstChild.nodeType === Node.TEXT_NODE ? (tail.firstChild.data = span(seconds)) : tail.prepend(span(seconds));
  }

  #calls(calls) {
    for (const [index, call] of calls.entries()) {
      if (!call || this.element.querySelector(`[data-call="${index}"]`)) continue;
      const step = fold("tool", call.name, "", t("step.call"), () => [h("pre", {}, call.arguments)]);
      step.dataset.call = String(index);
      this.element.append(step);
    }
  }
}
