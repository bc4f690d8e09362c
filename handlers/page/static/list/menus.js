// The menus of conversations and folders. What they do is loaded when it is chosen.

import { openMenu } from "../lib/menu.js";
import { t } from "../lib/words.js";

const later = (name, ...given) => () => import("./acts.js").then((acts) => acts[name](...given));

/**
 * Return the entries of a menu that pin, move and archive a conversation.
 * @param {{id: string, title: string, pinned?: boolean, archived?: boolean, folder?: string}} one
 */
export function placeEntries(one) {
  return [
    { words: t(one.pinned ? "list.unpin" : "list.pin"), picture: "pin", act: later("pin", one) },
    { words: t("list.move"), picture: "folder", act: later("chooseFolder", one) },
    { words: t(one.archived ? "list.restore" : "list.toArchive"), picture: "box", act: later("archive", one) },
  ];
}

/** Open the menu of a conversation in the list. */
export function rowMenu(list, known, opener) {
  const one = { ...known, title: known.title.textContent };
  openMenu(opener, [
    ...placeEntries(one),
    { words: t("conversation.rename"), picture: "pen", act: later("rename", one) },
    { words: t("conversation.delete"), picture: "bin", bad: true, act: later("remove", one, list) },
  ]);
}

/** Open the menu of a folder. */
export function folderMenu(name, opener) {
  openMenu(opener, [
    { words: t("folder.rename"), picture: "pen", act: later("renameFolder", name) },
    { words: t("folder.remove"), picture: "bin", act: later("removeFolder", name) },
  ]);
}
