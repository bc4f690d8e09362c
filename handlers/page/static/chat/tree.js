// The messages of one conversation: a tree that only grows, of which one branch is read.

/**
 * @typedef {{id: string, parent_id: string | null, sequence: number, role: string, content: any, status: string,
 *   model?: string, usage?: any, tool_calls?: any[], tool_call_id?: string, finish_reason?: string,
 *   created_at: number, reasoning_content?: string}} Message
 */

export class Tree {
  constructor() {
    /** @type {Map<string, Message>} */
    this.messages = new Map();
    /** @type {Map<string | null, string[]>} */
    this.children = new Map();
    /** The child that is read of each message that has several. @type {Map<string | null, string>} */
    this.chosen = new Map();
    /** The highest sequence that a message had. */
    this.last = 0;
  }

  /** Put messages in; one that is known already is replaced. */
  add(messages) {
    for (const message of messages) {
      if (!this.messages.has(message.id)) {
        const beside = this.children.get(message.parent_id) ?? [];
        beside.push(message.id);
        beside.sort((one, other) => (this.messages.get(one) ?? message).sequence - (this.messages.get(other) ?? message).sequence);
        this.children.set(message.parent_id, beside);
      }
      this.messages.set(message.id, message);
      this.last = Math.max(this.last, message.sequence);
    }
  }

  /** Take a message out that was never stored. */
  drop(id) {
    const message = this.messages.get(id);
    if (!message) return;
    this.messages.delete(id);
    this.children.set(message.parent_id, this.children.get(message.parent_id).filter((other) => other !== id));
    if (this.chosen.get(message.parent_id) === id) this.chosen.delete(message.parent_id);
  }

  /** Give a message the id that the server has for it. */
  rename(message, id) {
    const beside = this.children.get(message.parent_id);
    beside[beside.indexOf(message.id)] = id;
    if (this.chosen.get(message.parent_id) === message.id) this.chosen.set(message.parent_id, id);
    this.messages.delete(message.id);
    message.id = id;
    this.messages.set(id, message);
  }

  /** Read the branch that a message is on. */
  choose(id) {
    for (let at = this.messages.get(id); at; at = this.messages.get(at.parent_id)) this.chosen.set(at.parent_id, at.id);
  }

  /** Return the messages of the branch that is read, the first one first. */
  path() {
    const found = [];
    for (let id = this.#next(this.root); id; id = this.#next(id)) found.push(this.messages.get(id));
    return found;
  }

  /** The parent of the first message that is there: null, unless older ones are not loaded yet. */
  get root() {
    let first = null;
    for (const message of this.messages.values()) if (!first || message.sequence < first.sequence) first = message;
    return first ? first.parent_id : null;
  }

  #next(id) {
    const below = this.children.get(id);
    if (!below?.length) return null;
    const chosen = this.chosen.get(id);
    return chosen && below.includes(chosen) ? chosen : below.at(-1);
  }

  /** Return the ids of all versions of a message, in order, it among them. */
  versions(id) {
    const message = this.messages.get(id);
    return (this.children.get(message.parent_id) ?? [id]).filter((other) => this.messages.get(other).role === message.role);
  }

  /** Return the version before or after a message, null if there is none. */
  beside(id, step) {
    const all = this.versions(id);
    return all[all.indexOf(id) + step] ?? null;
  }

  /** Return the last message of the branch that is read. */
  get leaf() {
    return this.path().at(-1) ?? null;
  }

  get size() {
    return this.messages.size;
  }
}

/** Return the text of a message's content, which may be a list of parts. */
export function textOf(message) {
  const { content } = message;
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? part.refusal ?? "").join("\n\n");
}

/** Return stored calls, of functions and of custom tools, by name and arguments. */
export function callsOf(calls) {
  return calls.map((call) => ({ name: (call.function ?? call.custom)?.name ?? "", arguments: call.function?.arguments ?? call.custom?.input ?? "" }));
}
