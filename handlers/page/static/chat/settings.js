// How a conversation is answered: sampling and system prompt. The conversation keeps them.

import { get } from "../api/client.js";
import { modelNamed, usualModel } from "../api/models.js";

const KEY = "page";

/** Return the settings of a conversation: `options` are fields of requests. */
export function settingsOf(conversation) {
  let options = {};
  try {
    options = JSON.parse(conversation.metadata[KEY] ?? "{}");
  } catch {
    // Somebody else's words.
  }
  const system = conversation.tree.path().find((message) => message.role === "system");
  return { options, system: typeof system?.content === "string" ? system.content : "" };
}

/** Return the settings that a new conversation begins with: those of the reader's default preset, which it names. */
export async function firstSettings(conversation) {
  const preset = await get("user/presets?default=true&limit=1").then(({ data }) => data[0], () => null);
  if (!preset) return { ...settingsOf(conversation), isUnread: preset === null };
  conversation.model = preset.model;
  conversation.metadata = metadataWith(conversation.metadata, preset.options);
  return { options: preset.options, system: preset.system_prompt, preset: preset.name };
}

/** Return the model that answers in a conversation: the last one of the branch that is read, null if none is known. */
export async function modelFor(conversation) {
  try {
    const last = conversation.tree.path().findLast((message) => message.model)?.model ?? conversation.model;
    const named = last ? await modelNamed(last) : null;
    return named && !named.gone ? named : await usualModel();
  } catch {
    return null;
  }
}

/** Return the metadata that keeps the options. */
export function metadataWith(metadata, options) {
  const { [KEY]: _, ...rest } = metadata;
  return Object.keys(options).length ? { ...rest, [KEY]: JSON.stringify(options) } : rest;
}
