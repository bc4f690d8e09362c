// One conversation: what is stored of it, what is being asked, and the branch that is read.

import { get, newId, patch, post } from "../api/client.js";
import { noteUse } from "../api/models.js";
import { tell, tellTabs } from "../lib/bus.js";
import { Answer } from "./answer.js";
import { requestOf, temporaryRequestOf } from "./asking.js";
import { filesOf } from "./attach.js";
import { runningAs, watch } from "./running.js";
import { Tree } from "./tree.js";

const FIRST = 100;
const NEWEST = 20;
const MORE = 200;
const MOST = 500;

/** Events: "path" when other messages are shown, "title", "refused" with the question that was not stored. */
export class Conversation extends EventTarget {
  constructor(id = null, { temporary = false } = {}) {
    super();
    this.id = id;
    /** Nothing of it is stored: it ends with the page. */
    this.temporary = temporary;
    this.title = "";
    this.model = null;
    this.metadata = {};
    this.tree = new Tree();
    this.older = null;
    /** How many messages the server has of it. */
    this.count = 0;
    /** The answers that are being made here. @type {Set<Answer>} */
    this.answers = new Set();
    /** The question that may be stored although it was refused: its answer was lost. */
    this.unsure = null;
  }

  /** Read the newest messages. */
  async load() {
    const found = await get(`conversations/${this.id}?limit=${FIRST}`);
    this.#titled(found.title);
    this.model = found.model;
    this.metadata = found.metadata;
    this.updated = found.updated_at;
    this.place = { pinned: found.pinned, archived: found.archived, folder: found.folder };
    this.older = found.messages.next_cursor;
    this.count = found.message_count;
    this.tree.add(found.messages.data);
    this.#followAll(found.messages.data);
    this.#changed();
  }

  /** Read older messages; returns whether there were any. */
  async loadOlder(limit = MORE) {
    if (!this.older || this.loading) return false;
    this.loading = true;
    try {
      const page = await this.#page(this.older, limit);
      this.older = page.next_cursor;
      this.tree.add(page.data);
      this.#changed();
    } finally {
      this.loading = false;
    }
    return true;
  }

  /** Read all messages, for the tree. */
  async loadAll() {
    while (await this.loadOlder());
  }

  /** Read older messages until this one is there, or so many pages are read. */
  async reach(id, pages = Infinity) {
    for (let page = 0; id && page < pages && !this.tree.messages.has(id); page += 1) if (!(await this.loadOlder(MOST))) return;
  }

  /** Take what the list says of conversations that changed lately: look, if it says something new of this one. */
  async compare(latest) {
    const found = latest.find(({ id }) => id === this.id);
    if (found && (found.message_count !== this.count || found.title !== this.title)) await this.look();
  }

  /** Look whether another device has added something, or the network lost the answer to a question. */
  async look() {
    if (!this.id) return;
    const found = await get(`conversations/${this.id}?limit=${NEWEST}`);
    if (found.title !== this.title) this.#titled(found.title);
    this.count = found.message_count;
    const fresh = [];
    for (let page = found.messages; ; page = await this.#page(page.next_cursor, MORE)) {
      const unknown = page.data.filter((message) => this.#isNew(message));
      fresh.push(...unknown);
      if (unknown.length < page.data.length || !page.next_cursor) break;
    }
    if (!fresh.length) return;
    this.tree.add(fresh);
    this.#followAll(fresh);
    this.#changed();
    if (!fresh.some(({ id }) => id === this.unsure?.id)) return;
    this.dispatchEvent(Object.assign(new Event("stored"), { text: filesOf(this.unsure.content).words }));
    this.unsure = null;
  }

  /** Return whether a message is not known here. An answer that was asked for here is, before the server named it. */
  #isNew({ id, parent_id: parentId, role }) {
    if (this.tree.messages.has(id)) return false;
    return role !== "assistant" || ![...this.answers].some((answer) => !answer.id && answer.parentId === parentId);
  }

  #page(cursor, limit) {
    return get(`conversations/${this.id}/messages?order=desc&limit=${limit}&cursor=${encodeURIComponent(cursor)}`);
  }

  /** Return the id of an answer below a question that the store has and nobody here knows. */
  async #answerTo(questionId) {
    const { messages } = await get(`conversations/${this.id}?limit=${NEWEST}`);
    const found = messages.data.findLast((message) => message.parent_id === questionId && message.role === "assistant");
    return found && !this.tree.messages.has(found.id) ? found.id : null;
  }

  #followAll(messages) {
    for (const message of messages) {
      if (message.status !== "streaming") continue;
      let answer = runningAs(message.id);
      if (!answer) {
        answer = watch(new Answer(this.id, message.parent_id, message.model));
        answer.resume(message.id);
      }
      this.#live(message, answer);
    }
  }

  #live(message, answer) {
    message.live = answer;
    this.answers.add(answer);
    answer.addEventListener("end", () => this.#ended(message, answer));
  }

  #ended(message, answer) {
    message.status = { complete: "complete", cut: "complete", stopped: "partial" }[answer.state] ?? "failed";
    message.content = answer.text;
    message.usage = answer.usage;
    this.answers.delete(answer);
    this.dispatchEvent(new Event("ended"));
    if (!this.title && !this.temporary) this.#readTitle().catch(() => {});
  }

  async #readTitle() {
    const found = await get(`conversations/${this.id}?limit=1`).catch(() => null);
    if (found?.title) this.#titled(found.title);
  }

  #titled(title) {
    this.title = title;
    this.dispatchEvent(new Event("title"));
    tell("conversation", this);
  }

  /** Give it another title. */
  async rename(title) {
    await patch(`conversations/${this.id}`, { title });
    this.#titled(title);
  }

  #changed() {
    this.dispatchEvent(new Event("path"));
  }

  /** Read another branch. */
  choose(id) {
    this.tree.choose(id);
    this.#changed();
  }

  /** Make it at the server, with the first question. */
  async #make(model, content) {
    // A title of files would be one of their marks.
    const title = typeof content === "string" ? undefined : filesOf(content).words.slice(0, 60) || undefined;
    const body = { model, title, metadata: this.metadata };
    // Sent again with the same key, it is made once.
    if (JSON.stringify(body) !== this.making?.sent) this.making = { sent: JSON.stringify(body), key: newId("key") };
    const made = await post("conversations", body, { headers: { "Idempotency-Key": this.making.key } });
    this.id = made.id;
    this.model = made.model;
    this.title = made.title;
    this.dispatchEvent(new Event("made"));
  }

  /**
   * Ask a question below a message; undefined is the last one of the branch that is read.
   * @param {string | {type: string, text: string}[]} text
   * @param {{model: string, parentId?: string | null, options?: Record<string, any>, system?: string}} how
   */
  async ask(text, { model, parentId = this.tree.leaf?.id ?? null, options = {}, system = "" }) {
    const isFirst = parentId === null && !this.tree.size;
    if (!this.id && !this.temporary) await this.#make(model, text);
    const again = this.unsure?.parentId === parentId && JSON.stringify(this.unsure.content) === JSON.stringify(text) ? this.unsure : null;
    const id = again?.id ?? newId("msg");
    // The server gives the messages before a question its id with a number.
    const above = isFirst && system ? this.#put({ id: `${id}.1`, parent_id: null, role: "system", content: system, status: "complete" }) : null;
    const question = this.#put({ id, parent_id: above?.id ?? parentId, role: "user", content: text, status: "complete" });
    if (this.temporary) return this.#run(question, temporaryRequestOf({ model, options }, this.tree.path()), question);
    const how = { model, conversation: this.id, options, parentId: isFirst ? undefined : parentId };
    const sent = { id: question.id, content: text, system: isFirst ? system : "" };
    const answer = this.#run(question, requestOf(how, sent), question, Boolean(again));
    answer.addEventListener("end", () => (this.unsure = answer.isUnsure ? { id, parentId, content: text } : null));
    return answer;
  }

  /** Answer a stored question once more, below it, as another version. */
  async again(questionId, { model, options = {} }) {
    const question = this.tree.messages.get(questionId);
    if (this.temporary) {
      const path = this.tree.path();
      const before = path.slice(0, path.indexOf(question) + 1);
      return this.#run(question, temporaryRequestOf({ model, options }, before), null);
    }
    return this.#run(question, requestOf({ model, conversation: this.id, options, parentId: questionId }, null), null);
  }

  /** Let the model continue an answer that was cut short, as a message after it. */
  async goOn(answerId, words, how) {
    return this.ask(words, { ...how, parentId: answerId });
  }

  #put(message) {
    const put = { sequence: this.tree.last + 1, created_at: Date.now() / 1000, key: message.id, ...message };
    this.tree.add([put]);
    this.tree.choose(put.id);
    return put;
  }

  #run(question, body, unstored, mayBeStored = false) {
    const answer = watch(new Answer(this.id, question.id, body.model));
    const message = this.#put({ id: newId("tmp"), parent_id: question.id, role: "assistant", content: "", status: "streaming", model: body.model });
    this.#live(message, answer);
    answer.addEventListener("placed", () => {
      this.tree.rename(message, answer.id);
      this.dispatchEvent(Object.assign(new Event("named"), { message }));
      this.count += body.input.length + 1;
      noteUse(body.model);
      if (this.temporary) return;
      tell("asked", this);
      tellTabs("elsewhere", { id: this.id, title: this.title });
      if (!this.title) this.#readTitle().catch(() => {});
    });
    answer.addEventListener("end", () => {
      if (answer.state !== "refused") return;
      this.tree.drop(message.id);
      if (unstored) {
        this.tree.drop(unstored.id);
        this.tree.drop(`${unstored.id}.1`);
      }
      this.#changed();
      this.dispatchEvent(Object.assign(new Event("refused"), { error: answer.error, text: unstored ? filesOf(unstored.content).words : "" }));
    });
    this.#changed();
    answer.ask(body, () => this.#answerTo(question.id), mayBeStored);
    void import("./loading.js").then(({ followLoad }) => followLoad(answer));
    return answer;
  }
}
