// An answer that is being made: it belongs to the server, this page only follows it.

import { ApiError, Offline, get, post, send } from "../api/client.js";
import { eventsOf } from "../api/sse.js";
import { tell } from "../lib/bus.js";

const PAUSES = [1, 2, 4, 8, 15];
const QUEUED = /^queued, position (\d+)(?:, about ([\d.]+) s)?/;

/**
 * `state`: sending, queued, reading, thinking, writing, then complete, stopped, cut, failed or refused.
 * Events: "change" for anything, "text" when there is more of it, "end" once.
 */
export class Answer extends EventTarget {
  constructor(conversationId, parentId, model) {
    super();
    this.conversationId = conversationId;
    this.parentId = parentId;
    this.model = model;
    this.id = "";
    this.state = "sending";
    this.place = 0;
    this.wait = null;
    /** Places in the queue that it had, in order. */
    this.places = [];
    this.text = "";
    this.reasoning = "";
    this.calls = [];
    /** Blocks of HTML that are finished, and the one that is being written. */
    this.blocks = [];
    this.open = "";
    this.rendered = false;
    this.usage = null;
    this.tokens = 0;
    this.error = null;
    this.retrying = 0;
    this.began = performance.now();
    this.started = 0;
    this.firstToken = 0;
    this.thoughtEnd = 0;
    this.lastEvent = "0";
    this.reason = null;
  }

  get done() {
    return ["complete", "stopped", "cut", "failed", "refused"].includes(this.state);
  }

  /** Tokens in a second since the first one. */
  get rate() {
    const seconds = (performance.now() - this.firstToken) / 1000;
    return this.firstToken && seconds > 0.5 ? this.tokens / seconds : 0;
  }

  /** Ask, and follow the answer to its end. Never throws: `error` has what went wrong. */
  async ask(body) {
    try {
      const answer = await send("POST", "chat/completions", { ...body, stream: true, stream_options: { include_usage: true }, on_disconnect: "finish" });
      await this.#follow(answer);
    } catch (error) {
      await this.#lost(error);
    }
  }

  /** Follow an answer that was asked for elsewhere, or before the page was loaded. */
  async resume(id) {
    this.id = id;
    this.#to("reading");
    await this.#again();
  }

  /** End it at the server; what was written stays. */
  async stop() {
    if (this.done || !this.id) return;
    this.stopping = true;
    this.#changed();
    await post(`responses/${this.id.replace(/^msg_/, "resp_")}/cancel`).catch(() => {});
  }

  get #completion() {
    return this.id.replace(/^msg_/, "chatcmpl-");
  }

  async #follow(response) {
    for await (const { id, event, data } of eventsOf(response)) {
      if (id) this.lastEvent = id;
      if (event === "comment") this.#queued(data);
      else if (event === "block") this.#block(JSON.parse(data));
      else if (data === "[DONE]") return this.#end();
      else this.#take(JSON.parse(data));
    }
    throw new Offline("the stream broke off");
  }

  #queued(comment) {
    const found = QUEUED.exec(comment);
    if (!found) return;
    this.place = Number(found[1]);
    this.wait = found[2] ? Number(found[2]) : null;
    if (this.places.at(-1) !== this.place) this.places.push(this.place);
    this.#to("queued");
  }

  #take(chunk) {
    if (chunk.error) throw new ApiError(500, chunk.error, null);
    if (chunk.conversation) this.#placed(chunk.conversation);
    if (chunk.usage) this.usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason) this.reason = choice.finish_reason;
    const { content, reasoning_content: thought, tool_calls: calls } = choice.delta ?? {};
    if (content || thought || calls) this.#counted();
    if (thought) {
      this.reasoning += thought;
      this.#to("thinking");
    }
    if (calls) this.#called(calls);
    if (content) {
      this.text += content;
      if (this.reasoning && !this.thoughtEnd) this.thoughtEnd = performance.now();
      this.#to("writing");
      this.dispatchEvent(new Event("text"));
    }
  }

  /** Take a block of HTML. */
  #block(block) {
    this.rendered = true;
    if (block.open) this.open = block.html;
    else {
      this.blocks[block.index] = block.html;
      this.open = "";
    }
    this.dispatchEvent(new Event("text"));
  }

  #placed(place) {
    this.id = place.message_id;
    this.parentId = place.parent_message_id;
    this.started = performance.now();
    this.#to("reading");
    this.dispatchEvent(new Event("placed"));
  }

  #counted() {
    this.tokens += 1;
    if (!this.firstToken) this.firstToken = performance.now();
  }

  #called(pieces) {
    for (const piece of pieces) {
      const call = (this.calls[piece.index] ??= { name: "", arguments: "" });
      call.name ||= piece.function?.name ?? piece.custom?.name ?? "";
      call.arguments += piece.function?.arguments ?? piece.custom?.input ?? "";
    }
    this.#to("writing");
    this.dispatchEvent(new Event("text"));
  }

  #to(state) {
    if (this.done) return;
    this.state = state;
    this.retrying = 0;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
    tell("answer", this);
  }

  #end(state = this.reason === "length" ? "cut" : "complete") {
    if (this.done) return;
    this.state = this.stopping ? "stopped" : state;
    this.ended = performance.now();
    this.#changed();
    this.dispatchEvent(new Event("end"));
  }

  async #lost(error) {
    if (this.done) return;
    if (this.id && error instanceof Offline) return this.#again();
    this.error = error;
    if (this.stopping) this.#end("stopped");
    else this.#end(this.id ? "failed" : "refused");
  }

  /** Read the events after the last one that came; wait and try again while the server is away. */
  async #again() {
    for (let tries = 0; ; tries += 1) {
      try {
        const headers = { "Last-Event-ID": this.lastEvent };
        return await this.#follow(await send("GET", `chat/completions/${this.#completion}/events`, undefined, { headers }));
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return this.#stored();
        if (!(error instanceof Offline)) return this.#lost(error);
        this.retrying = PAUSES[Math.min(tries, PAUSES.length - 1)];
        this.#changed();
        await pause(this.retrying);
      }
    }
  }

  /** The events are gone: the stored message says how far it came. */
  async #stored() {
    for (let tries = 0; tries < 600; tries += 1) {
      let found;
      try {
        const page = await get(`conversations/${this.conversationId}?limit=500`);
        found = page.messages.data.find((message) => message.id === this.id);
      } catch (error) {
        if (!(error instanceof Offline)) return this.#lost(error);
      }
      if (found && found.status !== "streaming") {
        this.text = typeof found.content === "string" ? found.content : "";
        this.blocks = [];
        this.rendered = false;
        this.usage = found.usage;
        return this.#end({ complete: "complete", partial: "stopped" }[found.status] ?? "failed");
      }
      await pause(Math.min(2 + tries, 15));
    }
    return this.#lost(new Offline("nobody finished it"));
  }
}

/** Wait for a number of seconds, or until the network is back. */
function pause(seconds) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    addEventListener("online", done);
  });
}

/** The answers that are being made, and those that ended while nobody looked. @type {Map<string, Answer>} */
const running = new Map();

/** Remember an answer as long as it runs, under its conversation. */
export function watch(answer) {
  const noted = () => answer.id && running.set(answer.id, answer);
  noted();
  answer.addEventListener("placed", noted);
  answer.addEventListener("end", () => setTimeout(() => running.delete(answer.id), 1000));
  return answer;
}

/** Return the running answer that is stored as this message. */
export function runningAs(id) {
  return running.get(id) ?? null;
}

/** Return the running answers of a conversation. */
export function runningIn(conversationId) {
  return [...running.values()].filter((answer) => answer.conversationId === conversationId && !answer.done);
}
