// What is done to a whole conversation: a new title, a file of it, a copy of a branch, its end.

import { newId, post, send } from "../api/client.js";
import { tell, tellTabs } from "../lib/bus.js";
import { openDialog, undoable } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { openMenu } from "../lib/menu.js";
import "../lib/more.js";
import { go, here } from "../lib/router.js";
import { t } from "../lib/words.js";
import { textOf } from "./tree.js";

/** Ask for another title. */
export async function renameConversation(conversation) {
  const field = /** @type {HTMLInputElement} */ (h("input.in", { id: "title", maxlength: 200, dir: "auto", "aria-label": t("conversation.title") }));
  field.value = conversation.title;
  const title = await openDialog(t("conversation.rename"), (close) => [
    h("form.gap", { onsubmit: (event) => (event.preventDefault(), close(field.value.trim())) }, field, h("button.b.main", { type: "submit" }, t("save"))),
  ]);
  if (title && title !== conversation.title) await conversation.rename(title);
}

/** Hide it for ten seconds, then delete it for good. */
export async function deleteConversation(conversation, frame) {
  const { id } = conversation;
  for (const message of conversation.tree?.messages.values() ?? []) message.live?.stop();
  frame.list.hide(id);
  const isOpen = here().c === id;
  if (isOpen) go({});
  const undone = await undoable(t("conversation.deleted", { title: conversation.title || t("list.untitled") }));
  if (undone) {
    frame.list.hide(id, false);
    if (isOpen) go({ c: id });
    return;
  }
  try {
    await send("DELETE", `conversations/${id}`, undefined, { keepalive: true });
    frame.list.forget(id);
    for (const all of [tell, tellTabs]) all("deleted", id);
  } catch {
    frame.list.hide(id, false);
  }
}

/** Make and revoke links to it. */
export async function shareConversation(conversation) {
  const module = await import("./share.js");
  await module.shareConversation(conversation);
}

/** Offer the forms that it can be saved in. */
export function exportConversation(conversation, frame) {
  openMenu(frame.buttons.lastElementChild, [
    { words: t("export.markdown"), picture: "save", act: () => save(conversation, "md") },
    { words: t("export.json"), picture: "save", act: () => save(conversation, "json") },
    { words: t("export.jsonl"), picture: "save", act: () => save(conversation, "jsonl") },
  ]);
}

async function save(conversation, form) {
  const lines = await (await send("GET", `conversations/${conversation.id}/export`)).text();
  let text = lines;
  if (form === "json") text = JSON.stringify(lines.trim().split("\n").map((line) => JSON.parse(line)), null, 2);
  if (form === "md") {
    await conversation.loadAll();
    text = markdownOf(conversation);
  }
  const types = { md: "text/markdown", json: "application/json", jsonl: "application/jsonl" };
  const name = (conversation.title || conversation.id).replace(/[^\p{L}\p{N} _-]+/gu, "").trim().slice(0, 80) || conversation.id;
  download(new Blob([text], { type: types[form] }), `${name}.${form}`);
}

/** The branch that is read, as Markdown. */
function markdownOf(conversation) {
  const parts = conversation.tree.path().map((message) => `## ${message.role === "user" ? t("you") : (message.model ?? message.role)}\n\n${textOf(message)}`);
  return `# ${conversation.title || t("list.untitled")}\n\n${parts.join("\n\n")}\n`;
}

/** Give the reader a file. */
export function download(blob, name) {
  const link = /** @type {HTMLAnchorElement} */ (h("a", { href: URL.createObjectURL(blob), download: name }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Make a new conversation of the branch up to a message. */
export async function forkConversation(conversation, messageId) {
  const path = conversation.tree.path();
  const kept = path.slice(0, path.findIndex(({ id }) => id === messageId) + 1);
  const title = conversation.title.slice(0, 180);
  const made = await post("conversations", { title: t("conversation.copy", { title }), model: conversation.model, metadata: conversation.metadata }, { headers: { "Idempotency-Key": newId("key") } });
  let parent = null;
  for (const message of kept) {
    const body = { role: message.role, content: textOf(message), parent_id: parent, id: newId("msg"), model: message.model ?? undefined };
    parent = (await post(`conversations/${made.id}/messages`, body)).id;
  }
  go({ c: made.id });
}

