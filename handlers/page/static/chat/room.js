// How much of the model's context a conversation takes, before the question is sent.

import { post } from "../api/client.js";
import { modelNamed } from "../api/models.js";
import { listen } from "../lib/bus.js";
import { h, meter } from "../lib/dom.js";
import { short, t } from "../lib/words.js";
import { notice } from "./notices.js";
import { textOf } from "./tree.js";

const LETTERS_OF_A_TOKEN = 3.6;
const NEAR = 0.75;
const COUNTED_FROM = 0.8;
const PAUSE_MS = 600;

export class Room {
  /** @param {import("./composer.js").Composer} composer @param {import("./conversation.js").Conversation} conversation */
  constructor(composer, conversation, signal) {
    this.composer = composer;
    this.conversation = conversation;
    this.timer = 0;
    const look = () => this.look();
    for (const name of ["typed", "model"]) composer.addEventListener(name, look, { signal });
    conversation.addEventListener("path", look, { signal });
    conversation.addEventListener("ended", look, { signal });
    composer.addEventListener("summary", () => import("./summary.js").then(({ goOnWithSummary }) => goOnWithSummary(composer, conversation)), { signal });
    listen("model-loaded", (id) => id === composer.model?.id && this.#known(id), signal);
    signal.addEventListener("abort", () => clearTimeout(this.timer));
    look();
  }

  /** Tokens of the branch that is read, by what its last answer took; letters where nothing was counted. */
  get #before() {
    const path = this.conversation.tree.path();
    const at = path.findLastIndex((message) => message.usage);
    const counted = at < 0 ? 0 : path[at].usage.prompt_tokens + path[at].usage.completion_tokens;
    return path.slice(at + 1).reduce((sum, message) => sum + textOf(message).length / LETTERS_OF_A_TOKEN, counted);
  }

  /** What is known of a model only once it is loaded. */
  async #known(id) {
    this.composer.model = await modelNamed(id);
    this.look();
  }

  /** Show how full it is with what is typed now; near the top the server counts. */
  look() {
    clearTimeout(this.timer);
    const most = this.composer.model?.context;
    if (!most) return this.#show(0, 0);
    const used = Math.round(this.#before + this.composer.letters / LETTERS_OF_A_TOKEN);
    this.#show(used, most);
    this.composer.block(false);
    if (used / most >= COUNTED_FROM && this.composer.letters) this.timer = setTimeout(() => this.#count(), PAUSE_MS);
  }

  async #count() {
    const { model } = this.composer;
    const messages = this.conversation.tree.path().filter(({ role }) => role !== "tool").map((message) => ({ role: message.role, content: textOf(message) }));
    const given = this.composer.field.value;
    messages.push({ role: "user", content: this.composer.content() });
    try {
      const { count, max_model_len: most } = await post("tokenize", { model: model.id, messages });
      if (given !== this.composer.field.value || model !== this.composer.model) return;
      this.#show(count, most);
      if (count >= most) this.#over(count, most, model);
    } catch {
      // The server says it when the question is sent.
    }
  }

  #over(count, most, model) {
    this.composer.block(true);
    this.composer.notice(notice("alert", "warn", t("long.counted", { count, model: model.id, most }), t("long.text"), this.composer.offers(this.conversation)));
  }

  #show(used, most) {
    if (!most) return this.composer.room.replaceChildren();
    const kind = used >= most ? "full" : used / most >= NEAR ? "near" : "";
    const words = t("room", { used, most });
    this.composer.room.title = words;
    this.composer.room.replaceChildren(h("bdi.wide-only", {}, t("room.short", { used: short(used), most: short(most) })), meter(words, used, most, kind));
  }
}
