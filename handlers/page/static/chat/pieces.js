// What an answer is made of: items of text, reasoning and calls, put together from the events of its stream.

import { callsOf, textOf } from "./tree.js";

export class Pieces {
  constructor() {
    /** @type {Map<number, {kind: string, text: string, name: string, blocks: {html: string}[], finished: number}>} */
    this.items = new Map();
  }

  /** Add an item that is whole. */
  add(kind, text, name = "") {
    Object.assign(this.#item(this.items.size, kind), { text, name });
  }

  #item(index, kind) {
    let item = this.items.get(index);
    if (!item) this.items.set(index, (item = { kind, text: "", name: "", blocks: [], finished: 0 }));
    return item;
  }

  /** Take an event; returns whether there is more to show. */
  take(kind, event) {
    const index = event.output_index;
    if (kind === "output_item.added") {
      this.#item(index, event.item.type).name = event.item.name ?? "";
      return false;
    }
    if (kind === "output_item.dropped") return this.items.delete(index);
    if (kind === "block") return this.#block(this.#item(index, "message"), event);
    if (typeof event.delta !== "string") return false;
    const kinds = { "output_text.delta": "message", "reasoning_text.delta": "reasoning" };
    this.#item(index, kinds[kind] ?? "call").text += event.delta;
    return true;
  }

  #block(item, { index, html, end }) {
    item.blocks[index] = { html };
    item.finished = Math.max(item.finished, end);
    return true;
  }

  #of(kind) {
    return [...this.items.values()].filter((item) => item.kind === kind);
  }

  get text() {
    return this.#of("message").map((item) => item.text).join("");
  }

  get reasoning() {
    return this.#of("reasoning").map((item) => item.text).join("\n\n");
  }

  get calls() {
    return [...this.items.values()].filter(({ kind }) => kind !== "message" && kind !== "reasoning").map(({ name, text }) => ({ name, arguments: text }));
  }

  /** All finished blocks in order. */
  get blocks() {
    return this.#of("message").flatMap((item) => item.blocks);
  }

  /** The text that is in no finished block. */
  get openText() {
    const last = this.#of("message").at(-1);
    return last ? last.text.slice(last.finished) : "";
  }
}

/** Return the pieces of a stored answer. */
export function piecesOf(message) {
  const pieces = new Pieces();
  if (message.reasoning_content) pieces.add("reasoning", message.reasoning_content);
  for (const call of callsOf(message.tool_calls ?? [])) pieces.add("call", call.arguments, call.name);
  if (textOf(message)) pieces.add("message", textOf(message));
  return pieces;
}
