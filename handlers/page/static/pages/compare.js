// Two models on one question, side by side. Both wait, write and fail on their own.

import { models } from "../api/models.js";
import { Conversation } from "../chat/conversation.js";
import { MessageView } from "../chat/message.js";
import { noticeOf } from "../chat/notices.js";
import { firstSettings, settingsOf } from "../chat/settings.js";
import { textOf } from "../chat/tree.js";
import { button, h, icon } from "../lib/dom.js";
import "../lib/more.js";
import { go, linkTo, rename } from "../lib/router.js";
import { t } from "../lib/words.js";

/** Show the page. Without a conversation it begins one. */
export async function showCompare(frame, place) {
  const off = new AbortController();
  const page = new Compare(frame, off.signal);
  page.opened = page.open(place.c ?? null);
  await page.opened;
  return () => {
    off.abort();
    frame.composer.modelButton.hidden = false;
  };
}

class Compare {
  constructor(frame, signal) {
    this.frame = frame;
    this.signal = signal;
    this.question = h("article.own", { "aria-label": t("message.yours"), hidden: true });
    this.sections = [0, 1].map((index) => h("section", { "aria-labelledby": `side-${index}` }));
  }

  async open(id) {
    this.conversation = new Conversation(id);
    const { composer } = this.frame;
    composer.open(id, t("compare.write"));
    composer.addEventListener("send", (event) => this.#ask(event.text, event.content), { signal: this.signal });
    composer.addEventListener("stop", () => this.#each((answer) => answer.stop()), { signal: this.signal });
    if (id) await this.conversation.load();
    this.settings = id ? settingsOf(this.conversation) : await firstSettings(this.conversation);
    const all = await models();
    this.models = [all[0], all[1] ?? all[0]];
    composer.model = all[0];
    composer.modelButton.hidden = true;
    this.frame.showFoot(true);
    this.frame.showTitle(t("compare"), [h("a.b.quiet.icon", { href: linkTo(id ? { c: id } : {}), "aria-label": t("close"), title: t("close") }, icon("x"))]);
    this.sections.forEach((section, index) => this.#head(section, index));
    this.frame.showMain(h("main.body", { id: "page", tabindex: -1 }, this.question, h("div.pair", {}, ...this.sections)));
    composer.offerFocus();
  }

  #head(section, index) {
    const name = h("span.cut", { id: `side-${index}` }, this.models[index].id);
    const pick = h("button.b.quiet.tiny", { type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => this.#pick(pick, name, index) }, name, icon("down"));
    section.replaceChildren(h("header.write", {}, pick));
  }

  async #pick(opener, name, index) {
    const { openPicker } = await import("../chat/picker.js");
    const model = await openPicker(opener, this.models[index].id);
    if (!model) return;
    this.models[index] = model;
    name.textContent = model.id;
  }

  async #ask(text, content) {
    const { composer } = this.frame;
    await this.opened;
    const how = { options: this.settings.options, system: this.settings.system };
    this.sections.forEach((section, index) => this.#head(section, index));
    try {
      const first = await this.conversation.ask(content, { ...how, model: this.models[0].id });
      rename({ view: "compare", c: this.conversation.id });
      const question = this.conversation.tree.messages.get(first.parentId);
      this.question.hidden = false;
      this.question.replaceChildren(h("div.text", { dir: "auto" }, h("p.raw", {}, textOf(question))));
      this.#show(first, 0);
      await stored(first);
      composer.renamed(this.conversation.id);
      composer.sent(text);
      const second = await this.conversation.again(question.id, { ...how, model: this.models[1].id });
      this.#show(second, 1);
    } catch (error) {
      composer.notice(noticeOf(error, { retry: () => (composer.notice(null), composer.send()), otherModel: () => composer.pick() }));
    }
  }

  #show(answer, index) {
    const { conversation, frame } = this;
    const message = [...conversation.tree.messages.values()].find(({ live }) => live === answer);
    const acts = { versions: () => [message.id], again: () => {}, goOn: () => {}, fork: () => {}, link: () => location.href, version: () => {} };
    const view = new MessageView(message, acts);
    const choose = button(t("compare.choose"), () => go({ c: conversation.id, m: message.id }), { kind: "b.main", picture: "check" });
    const foot = h("div.row.wrap", { hidden: true }, choose);
    view.who.remove();
    view.buttons.hidden = true;
    this.sections[index].append(view.element, foot);
    const busy = () => (frame.composer.busy = this.#running.length > 0);
    answer.addEventListener("change", busy);
    answer.addEventListener("end", () => {
      busy();
      foot.hidden = answer.state === "refused" || answer.state === "failed";
      if (answer.state === "refused") this.sections[index].append(noticeOf(answer.error, {}));
    });
  }

  get #running() {
    return [...this.conversation.tree.messages.values()].map(({ live }) => live).filter((live) => live && !live.done);
  }

  #each(act) {
    for (const answer of this.#running) act(answer);
  }
}

/** Wait until the server has the question. Throws what keeps it from that. */
function stored(answer) {
  return new Promise((resolve, reject) => {
    if (answer.id) resolve();
    answer.addEventListener("placed", resolve);
    answer.addEventListener("end", () => (answer.error ? reject(answer.error) : resolve()));
  });
}
