// The page of a conversation, or of one that begins.

import { sharingOffer } from "../api/session.js";
import { usualModel } from "../api/models.js";
import { h, icon, iconButton } from "../lib/dom.js";
import { listen } from "../lib/bus.js";
import { holdKeys } from "../lib/keys.js";
import { openMenu } from "../lib/menu.js";
import { go, here, linkTo, rename } from "../lib/router.js";
import { t } from "../lib/words.js";
import { placeEntries } from "../list/menus.js";
import { Conversation } from "./conversation.js";
import { firstScreen, namePreset } from "./first-screen.js";
import { fileNotice, noticeOf } from "./notices.js";
import { Room } from "./room.js";
import { firstSettings, modelFor, settingsOf } from "./settings.js";
import { summaryNote } from "./summary-note.js";
import { reachPlace } from "./thread.js";

/**
 * Show a conversation in the frame. Returns what to call when it is left.
 * @param {import("../app.js").Frame} frame
 * @param {Record<string, string>} place
 */
export async function showConversation(frame, place) {
  const off = new AbortController();
  const view = new View(frame, off.signal);
  await view.open(place);
  return () => off.abort();
}

const TEMPORARY = "temporary";

class View {
  constructor(frame, signal) {
    this.frame = frame;
    this.signal = signal;
    this.composer = frame.composer;
    const on = (name, call) => this.composer.addEventListener(name, call, { signal });
    on("send", (event) => this.#send(event.text, event.content));
    on("fresh", () => go({}));
    on("fit", (event) => this.#send(event.text, event.content, { truncation: "auto" }));
    on("problem", (event) => this.composer.notice(fileNotice(event.problem)));
    on("stop", () => this.stop());
    on("edit-last", () => this.#editLast());
    listen("answer", () => this.#busy(), signal);
    listen("act", (name) => (name === "stop" ? this.stop() : this.#act(name)), signal);
    const look = () => this.conversation.look().catch(() => {});
    listen("latest", (all) => this.conversation.compare(all).catch(() => {}), signal);
    const mine = (name, act) => listen(name, (one) => one.id === this.conversation.id && act(one), signal);
    mine("conversation", ({ title }) => title !== this.conversation.title && look());
    mine("sorted", (one) => (this.conversation.place = one));
    mine("elsewhere", look);
  }

  /** Show a place. What is sent before the model is known waits for it. */
  open(place) {
    this.opened = this.#open(place);
    return this.opened;
  }

  async #open({ c, m, temporary }) {
    const conversation = (this.conversation = new Conversation(c ?? null, { temporary: temporary !== undefined && !c }));
    const { signal } = this;
    this.frame.showFoot(true);
    this.composer.open(conversation.temporary ? TEMPORARY : (c ?? null), t(c ? "write.next" : "write.first"));
    this.composer.block(false);
    conversation.addEventListener("title", () => this.#title(), { signal });
    conversation.addEventListener("stored", (event) => (this.composer.notice(null), this.composer.sent(event.text)), { signal });
    conversation.addEventListener("made", () => this.#made(), { signal });
    conversation.addEventListener("refused", (event) => this.#refused(event.error, event.text), { signal });
    this.#title();
    const first = c ? null : firstSettings(conversation);
    if (c) await this.#load(m);
    else await this.frame.listed;
    if (signal.aborted) return;
    if (!c) this.#showFirst();
    this.settings = first ? await first : settingsOf(conversation);
    if (signal.aborted) return;
    namePreset(this.frame.main, this.settings.preset);
    const usual = await modelFor(conversation);
    if (signal.aborted) return;
    if (!this.composer.picked) this.composer.model = usual;
    new Room(this.composer, conversation, signal);
    this.#busy();
    this.composer.offerFocus();
  }

  async #load(m) {
    const slow = setTimeout(() => this.frame.showMain(h("main.first", { id: "page", tabindex: -1 }, h("p.dim", { role: "status" }, t("thread.loading")))), 200);
    try {
      await this.conversation.load();
    } catch (error) {
      if (!this.signal.aborted) this.frame.showMain(h("main.body.slim", { id: "page", tabindex: -1 }, noticeOf(error, { retry: () => go(here(), { replace: true }) })));
      return;
    } finally {
      clearTimeout(slow);
    }
    if (this.signal.aborted) return;
    await reachPlace(this.conversation, m);
    if (this.signal.aborted) return;
    if (m && this.conversation.tree.messages.has(m)) this.conversation.tree.choose(m);
    this.#showThread();
    this.thread.restore(m);
  }

  #showFirst() {
    this.frame.showMain(firstScreen(this.frame.list, this.conversation.temporary));
  }

  #showThread() {
    const thread = (this.thread = /** @type {import("./thread.js").Thread} */ (document.createElement("jan-thread")));
    this.frame.showMain(h("main.thread", { id: "page", tabindex: -1 }, thread));
    thread.show(this.conversation, this.#acts());
    this.composer.write.prepend(thread.jump);
  }

  #acts() {
    const { conversation } = this;
    return {
      versions: (id) => conversation.tree.versions(id),
      version: (id) => conversation.choose(id),
      edit: (id) => this.#edit(id),
      again: (questionId) => this.#again(questionId),
      goOn: (id) => this.#goOn(id),
      summary: () => summaryNote(conversation),
      fork: conversation.temporary ? null : (id) => this.#fork(id),
      link: conversation.temporary ? null : (id) => new URL(linkTo({ c: conversation.id, m: id }), location.href).href,
    };
  }

  async #act(name) {
    if (name === "model" || (name === "edit" && document.activeElement?.closest(".msg.you"))) holdKeys(); // letters may follow before it is loaded
    const { actByKey } = await import("./act-by-key.js");
    actByKey(name, this, this.#acts());
  }

  #title() {
    const { title, id } = this.conversation;
    const words = title || t(id ? "list.untitled" : this.conversation.temporary ? "temporary" : "list.new");
    const tree = id && h("a.b.quiet.icon", { href: linkTo({ c: id, view: "tree" }), "aria-label": t("tree"), title: t("tree") }, icon("tree"));
    const more = iconButton("more", t("more"), () => openMenu(more, this.#entries()), { kind: "b.quiet.icon", "aria-haspopup": "menu" });
    this.frame.showTitle(words, [tree, more].filter(Boolean));
  }

  #entries() {
    const ask = (name) => import("./manage.js").then((module) => module[name](this.conversation, this.frame));
    const settings = { words: t("conversation.settings"), picture: "set", act: () => this.openSettings() };
    const compare = { words: t("compare"), picture: "two", act: () => go({ view: "compare", c: this.conversation.id }) };
    if (!this.conversation.id) return this.conversation.temporary ? [settings] : [settings, compare];
    const { id, title, place } = this.conversation;
    return [
      compare,
      { words: t("conversation.rename"), picture: "pen", act: () => ask("renameConversation") },
      ...placeEntries({ id, title: title || t("list.untitled"), ...place }),
      settings,
      sharingOffer() && { words: t("share"), picture: "share", act: () => ask("shareConversation") },
      { words: t("conversation.export"), picture: "save", act: () => ask("exportConversation") },
      { words: t("conversation.delete"), picture: "bin", bad: true, act: () => ask("deleteConversation") },
    ];
  }

  async openSettings() {
    const [{ openSettings }] = await Promise.all([import("./settings-dialog.js"), this.opened]);
    this.settings = (await openSettings(this.conversation, this.settings, this.composer)) ?? this.settings;
  }

  get #how() {
    const { model, reasoning } = this.composer;
    const options = { ...this.settings.options };
    if (model?.reasoning && !reasoning) options.reasoning_effort = "none";
    return { model: model?.id, options, system: this.settings.system };
  }

  #made() {
    rename({ c: this.conversation.id });
    this.#title();
  }

  async #send(text, content, more = {}) {
    await this.opened;
    if (this.signal.aborted) return;
    this.composer.notice(null);
    if (!this.composer.model && !(await this.#foundModel())) return;
    const wasNew = !this.conversation.id;
    if (wasNew && this.settings.isUnread) this.settings = await firstSettings(this.conversation);
    try {
      if (!this.thread) this.#showThread();
      const how = this.#how;
      const answer = await this.conversation.ask(content, { ...how, options: { ...how.options, ...more } });
      this.thread.bring(this.conversation.tree.messages.get(answer.parentId));
      this.composer.field.placeholder = t("write.next");
      answer.addEventListener("placed", () => {
        if (wasNew && !this.conversation.temporary) this.composer.renamed(this.conversation.id);
        this.composer.sent(text);
      });
    } catch (error) {
      this.#refused(error, text);
    }
  }

  /** Look for a model once more: the list of models could not be read, or was empty. Tells if that is still so. */
  async #foundModel() {
    try {
      this.composer.model = await usualModel();
    } catch (error) {
      this.#refused(error);
      return false;
    }
    if (!this.composer.model) this.#refused(new Error(t("model.none")));
    return Boolean(this.composer.model);
  }

  #again(questionId) {
    this.conversation.again(questionId, this.#how).then((answer) => this.thread.bring(this.conversation.tree.messages.get(answer.parentId)));
  }

  async #edit(id) {
    const { editMessage } = await import("./edit.js");
    const view = this.thread.views.get(this.conversation.tree.messages.get(id).key ?? id);
    editMessage(view, this.conversation.id, (text) => this.#edited(id, text));
  }

  async #edited(id, text) {
    const { parent_id: parentId } = this.conversation.tree.messages.get(id);
    const answer = await this.conversation.ask(text, { ...this.#how, parentId });
    this.thread.bring(this.conversation.tree.messages.get(answer.parentId));
  }

  async #goOn(id) {
    const answer = await this.conversation.goOn(id, t("message.goOnWords"), this.#how);
    this.thread.bring(this.conversation.tree.messages.get(answer.parentId));
  }

  #fork(id) {
    return import("./manage.js").then(({ forkConversation }) => forkConversation(this.conversation, id));
  }

  #refused(error, text) {
    if (text) this.composer.fill(text);
    this.composer.notice(noticeOf(error, {
      retry: () => (this.composer.notice(null), this.composer.send()),
      otherModel: () => this.composer.pick(),
      offers: this.composer.offers(this.conversation),
      fresh: () => go({}),
    }));
    if (!this.conversation.tree.size && !this.conversation.id) {
      this.thread = null;
      this.#showFirst();
    }
  }

  get #running() {
    return [...this.conversation.answers].filter((answer) => !answer.done);
  }

  #busy() {
    this.composer.busy = this.#running.length > 0;
  }

  /** End all answers of this conversation that are being made. */
  stop() {
    return this.#running.map((answer) => answer.stop()).length > 0;
  }

  #editLast() {
    const last = this.conversation.tree.path().findLast((message) => message.role === "user");
    if (last) this.#acts().edit(last.id);
  }
}
