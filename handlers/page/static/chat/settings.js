// How a conversation is answered: sampling and system prompt. The conversation keeps them.

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

/** Return the metadata that keeps the options. */
export function metadataWith(metadata, options) {
  const { [KEY]: _, ...rest } = metadata;
  return Object.keys(options).length ? { ...rest, [KEY]: JSON.stringify(options) } : rest;
}
