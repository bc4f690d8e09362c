// What keys do in a conversation.

import { forgetKeys } from "../lib/keys.js";
import { copy } from "../lib/menu.js";
import "../lib/more.js";
import { go } from "../lib/router.js";

/** Do what a key asked for. `view` is the page of the conversation, `acts` what its messages can be told to do. */
export function actByKey(name, view, acts) {
  const { conversation, composer, thread } = view;
  if (name === "model") composer.pick();
  else if (name === "tree" && conversation.id) go({ c: conversation.id, view: "tree" });
  else if (name === "newest") thread?.scrolling.follow();
  else if (name === "next" || name === "previous") move(thread, name === "next" ? 1 : -1);
  else if (thread) onMessage(name, conversation.tree, thread, acts);
}

function focused() {
  return /** @type {HTMLElement | null} */ (document.activeElement?.closest?.(".msg"));
}

function move(thread, step) {
  const from = focused();
  const read = thread?.first?.element;
  // Without a focus the message that is read comes first.
  const to = !from && step > 0 ? read : (from ?? read) && thread.parts.beside(from ?? read, step);
  to?.focus({ preventScroll: true });
  to?.scrollIntoView({ block: "start", behavior: "instant" });
}

function onMessage(name, tree, thread, acts) {
  const id = focused()?.dataset.id ?? tree.leaf?.id;
  const message = tree.messages.get(id);
  if (!message) return forgetKeys();
  const viewOf = (one) => thread.views.get(one.key ?? one.id);
  if (name === "copy") copy(viewOf(message).copied);
  else if (name === "again") acts.again(message.role === "user" ? id : message.parent_id);
  else if (name === "edit") message.role === "user" ? acts.edit(id) : forgetKeys();
  else if (name === "earlier" || name === "later") {
    const beside = tree.beside(id, name === "later" ? 1 : -1);
    if (!beside) return;
    acts.version(beside);
    viewOf(tree.messages.get(beside))?.element.focus({ preventScroll: true });
  }
}
