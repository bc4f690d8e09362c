// What is done to conversations and folders of the list, here and in the other tabs.

import { patch } from "../api/client.js";
import { deleteConversation } from "../chat/manage.js";
import { tell, tellTabs } from "../lib/bus.js";
import { openDialog, sure, undoable } from "../lib/dialog.js";
import { button, h, icon } from "../lib/dom.js";
import { say } from "../lib/menu.js";
import "../lib/more.js";
import { t } from "../lib/words.js";
import { readFolders, renameOpen } from "./folder-names.js";

/**
 * What an act needs to know of a conversation.
 * @typedef {{id: string, title: string, pinned?: boolean, archived?: boolean, folder?: string}} Placed
 */

/** Change the place of a conversation, here and in the other tabs; returns whether it was changed. */
async function sort(one, changes, said = "") {
  try {
    const changed = await patch(`conversations/${one.id}`, changes);
    tell("sorted", changed);
    tellTabs("sorted", changed);
    if (said) say(said);
    return true;
  } catch (error) {
    await failed(error);
    return false;
  }
}

function failed(error) {
  return openDialog(t("list.unchanged"), (close) => [h("p.soft", { role: "alert" }, error.message), h("div.row", {}, button(t("close"), () => close()))]);
}

/** Pin a conversation, or unpin it. */
export function pin(one) {
  return sort(one, { pinned: !one.pinned }, t(one.pinned ? "list.unpinned" : "list.isPinned", one));
}

/** Archive a conversation, with ten seconds to take it back, or take it out of the archive. */
export async function archive(one) {
  if (one.archived) return sort(one, { archived: false }, t("list.restored", one));
  if ((await sort(one, { archived: true })) && (await undoable(t("list.archived", one)))) await sort(one, { archived: false }, t("list.restored", one));
}

/** Ask for a folder, and put a conversation there. */
export async function chooseFolder(one) {
  const folders = await readFolders().catch(failed);
  if (!folders) return;
  const to = await openDialog(t("list.move"), (close) => {
    const choice = (name, words) => {
      const current = (one.folder ?? "") === name;
      return h("li", {}, h("button.line", { type: "button", "aria-pressed": String(current), autofocus: current, onclick: () => close(name) }, icon("folder"), h("span.cut", { dir: "auto" }, words), current && icon("check")));
    };
    const names = h("ul.bare.choices", {}, choice("", t("folder.none")), ...folders.map(({ name }) => choice(name, name)));
    return [names, nameForm(t("folder.new"), t("folder.make"), "", close)];
  });
  if (to === undefined || to === (one.folder ?? "")) return;
  await sort(one, { folder: to || null }, to ? t("folder.moved", { ...one, folder: to }) : t("folder.movedOut", one));
}

/** A field for a name with its button; a name that is empty is not taken. */
function nameForm(label, act, value, close) {
  const field = /** @type {HTMLInputElement} */ (h("input.in", { id: "name", maxlength: 100, dir: "auto", autocomplete: "off", autofocus: Boolean(value) }));
  field.value = value;
  const take = (event) => {
    event.preventDefault();
    if (field.value.trim()) close(field.value.trim());
    else field.focus();
  };
  return h("form.gap", { onsubmit: take }, h("div.field", {}, h("label", { for: "name" }, label), field), h("div.row", {}, h("button.b.main", { type: "submit" }, act)));
}

/** Delete a conversation, with ten seconds to take it back. */
export function remove(one, list) {
  return deleteConversation(one, { list });
}

/** Ask for another title. */
export async function rename(one) {
  const title = await openDialog(t("conversation.rename"), (close) => [nameForm(t("conversation.title"), t("save"), one.title, close)]);
  if (!title || title === one.title) return;
  try {
    await patch(`conversations/${one.id}`, { title });
    for (const all of [tell, tellTabs]) all("conversation", { id: one.id, title });
  } catch (error) {
    await failed(error);
  }
}

/** Ask for another name of a folder. */
export async function renameFolder(name) {
  const to = await openDialog(t("folder.rename"), (close) => [nameForm(t("folder.name"), t("save"), name, close)]);
  if (to && to !== name) await moveFolder(name, to, t("folder.renamed", { folder: to }));
}

/** Remove a folder, and keep its conversations. */
export async function removeFolder(name) {
  if (await sure(t("folder.remove"), t("folder.removeText", { folder: name }), t("folder.remove"))) await moveFolder(name, null, t("folder.removed", { folder: name }));
}

async function moveFolder(folder, to, said) {
  try {
    await patch("conversations/folders", { folder, to });
    renameOpen(folder, to);
    for (const all of [tell, tellTabs]) all("folders", to);
    say(said);
  } catch (error) {
    await failed(error);
  }
}
