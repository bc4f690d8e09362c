// An answer that is being made: it belongs to the server, this page only follows it. Asked for as a response in the
// background, which goes on whoever looks, and whose events have numbers.

import { ApiError, get, Offline, post, send } from "../api/client.js";
import { eventsOf } from "../api/sse.js";
import { tell } from "../lib/bus.js";
import { pause } from "../lib/pause.js";
import { Pieces, piecesOf } from "./pieces.js";
import { isUnanswered, lookFor, LOOKS } from "./unanswered.js";

const PAUSES = [1, 2, 4, 8, 15];
const MOST_LOOKS = 600;
const MOST_SENT = 2;
const QUEUED = /^queued, position (\d+)(?:, about ([\d.]+) s)?/;
const ENDS = ["complete", "stopped", "cut", "failed", "refused"];

/**
 * `state`: sending, queued, reading, thinking, writing, then one of ENDS.
 * Events: "change" for anything, "text" when there is more of it, "placed" when the server has it, "end" once.
 */
export class Answer extends EventTarget {
  constructor(conversationId, parentId, model) {
    super();
    this.conversationId = conversationId;
    this.parentId = parentId;
    this.model = model;
    this.id = "";
    this.state = "sending";
    this.pieces = new Pieces();
    this.usage = null;
    this.error = null;
    this.retrying = 0;
    /** Whether its beginning was not seen here: then times that this page measures mean nothing. */
    this.resumed = false;
    this.began = performance.now();
    this.started = 0;
    this.firstToken = 0;
    this.thoughtEnd = 0;
    this.lastEvent = -1;
    /** Its place in the queue and the seconds that it may wait, if they are known; all places that it had. */
    this.place = 0;
    this.wait = null;
    this.places = [];
    /** The part of its model that is loaded, 0 to 1, while it waits for that; else null. */
    this.loading = null;
    /** How many old messages the model did not get, as was asked for. */
    this.leftOut = 0;
  }

  get done() {
    return ENDS.includes(this.state);
  }

  get text() {
    return this.pieces.text;
  }

  get reasoning() {
    return this.pieces.reasoning;
  }

  get calls() {
    return this.pieces.calls;
  }

  get blocks() {
    return this.pieces.blocks;
  }

  /** The text of the block that is being written. */
  get openText() {
    return this.pieces.openText;
  }

  /** Tokens in a second since the first one, by the whole answer. */
  get rate() {
    const seconds = (this.ended - this.firstToken) / 1000;
    return this.firstToken && !this.resumed && seconds > 0.5 && this.usage ? this.usage.completion_tokens / seconds : 0;
  }

  /**
   * Ask, and follow the answer to its end. Never throws: `error` has what went wrong. A request that got no answer may
   * have been carried out: then what is stored is followed, else the same request is sent once more.
   * @param {any} body
   * @param {() => Promise<string | null>} [findStored] the id that the store has for the answer, if there is one
   * @param {boolean} [mayBeStored] an earlier request with the same ids got no answer
   */
  async ask(body, findStored = async () => null, mayBeStored = false) {
    this.temporary = body.store === false;
    this.off = new AbortController();
    const asked = { ...body, background: !this.temporary, stream: true, stream_options: { include_html: true } };
    if (mayBeStored && (await this.#adopted(findStored, [0]))) return this.#again();
    for (let tries = 1; !this.done; tries += 1) {
      try {
        return await this.#follow(await this.#sent(asked));
      } catch (error) {
        if (this.id || this.temporary || !isUnanswered(error)) return this.#lost(error);
        if (await this.#adopted(findStored, LOOKS)) return this.#again();
        // Without an id of the question a second request would be a second answer.
        if (tries === MOST_SENT || !body.message_id || !this.reached) return this.#lost(error);
      }
    }
  }

  async #sent(asked) {
    const answer = await send("POST", "responses", asked, { signal: this.off.signal });
    this.leftOut = (answer.headers.get("X-Jan-Left-Out") ?? "").split(",").filter(Boolean).length;
    return answer;
  }

  /** Follow what the store has of it, if it has it. `reached` says whether the server could be asked. */
  async #adopted(findStored, pauses) {
    const { id, reached } = await lookFor(findStored, pauses);
    this.reached = reached;
    if (id) this.#placed({ id });
    return Boolean(id);
  }

  /** Whether it was refused although the server may have it. */
  get isUnsure() {
    return this.state === "refused" && isUnanswered(this.error);
  }

  /** Follow an answer that was asked for elsewhere, or before the page was loaded. */
  async resume(id) {
    this.id = id;
    this.resumed = true;
    this.#to("reading");
    await this.#again();
  }

  /** End it at the server; what was written stays. */
  async stop() {
    if (this.done || !this.id) return;
    this.stopping = true;
    this.#changed();
    if (this.temporary) {
      this.off.abort();
      return this.#end("stopped");
    }
    await post(`responses/${this.#own}/cancel`).catch(() => (this.stopping = false));
  }

  /** Its id as a response. */
  get #own() {
    return this.id.replace(/^msg_/, "resp_");
  }

  async #follow(response) {
    for await (const { event, data } of eventsOf(response)) {
      if (event === "comment") this.#queued(data);
      else if (data.startsWith("{")) this.#take(JSON.parse(data));
      if (this.done) return;
    }
    throw new Offline("the stream broke off");
  }

  #take(event) {
    this.lastEvent = Math.max(this.lastEvent, event.sequence_number ?? -1);
    const kind = event.type.replace("response.", "");
    if (kind === "created") this.#placed(event.response);
    else if (kind === "queued") this.#to("queued");
    else if (kind === "in_progress") {
      this.started ||= performance.now();
      this.#to("reading");
    } else if (kind === "completed" || kind === "incomplete" || kind === "failed") this.#ended(event.response);
    else if (kind === "error") this.error = new ApiError(500, event, null);
    else if (this.pieces.take(kind, event)) this.#grew(kind);
  }

  #queued(comment) {
    const found = QUEUED.exec(comment);
    if (!found) return;
    this.place = Number(found[1]);
    this.wait = found[2] ? Number(found[2]) : null;
    if (this.places.at(-1) !== this.place) this.places.push(this.place);
    this.#to("queued");
  }

  #placed(response) {
    if (this.id) return;
    this.id = response.id.replace(/^resp_/, "msg_");
    this.#to("queued");
    this.dispatchEvent(new Event("placed"));
  }

  #grew(kind) {
    this.firstToken ||= performance.now();
    if (kind.startsWith("reasoning")) this.#to("thinking");
    else {
      if (this.reasoning && !this.thoughtEnd) this.thoughtEnd = performance.now();
      this.#to("writing");
    }
    this.dispatchEvent(new Event("text"));
  }

  #ended(response) {
    const { usage, status, incomplete_details: why, error } = response;
    if (usage) this.usage = { prompt_tokens: usage.input_tokens, completion_tokens: usage.output_tokens };
    if (status === "failed" && !this.error) this.error = new ApiError(500, error ?? {}, null);
    this.#end({ completed: "complete", cancelled: "stopped", incomplete: why ? "cut" : "stopped" }[status] ?? "failed");
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

  #end(state) {
    if (this.done) return;
    this.state = state;
    this.ended = performance.now();
    this.#changed();
    this.dispatchEvent(new Event("end"));
  }

  async #lost(error) {
    if (this.done) return;
    if (this.id && error instanceof Offline && !this.temporary) return this.#again();
    this.error = error;
    this.#end(this.id ? "failed" : "refused");
  }

  /** Read the events after the last one that came; wait and try again while the server is away. */
  async #again() {
    for (let tries = 0; !this.done; tries += 1) {
      try {
        const after = this.lastEvent >= 0 ? `&starting_after=${this.lastEvent}` : "";
        return await this.#follow(await send("GET", `responses/${this.#own}?stream=true&include_html=true${after}`));
      } catch (error) {
        if (error instanceof ApiError && error.status < 500) return this.#stored();
        if (!(error instanceof Offline) && !(error instanceof ApiError)) return this.#lost(error);
        this.retrying = PAUSES[Math.min(tries, PAUSES.length - 1)];
        this.#changed();
        await pause(this.retrying);
      }
    }
  }

  /** There are no events: it was asked for in another way. The stored message says how far it is. */
  async #stored() {
    for (let tries = 0; tries < MOST_LOOKS; tries += 1) {
      try {
        const page = await get(`conversations/${this.conversationId}?limit=20`);
        const found = page.messages.data.find((message) => message.id === this.id);
        if (!found || found.status !== "streaming") return this.#readFrom(found);
      } catch (error) {
        if (!(error instanceof Offline)) return this.#lost(error);
      }
      await pause(Math.min(2 + tries, 15));
    }
    return this.#lost(new Error("nobody finished it"));
  }

  #readFrom(found) {
    this.pieces = found ? piecesOf(found) : new Pieces();
    this.usage = found?.usage ?? null;
    this.#end({ complete: "complete", partial: "stopped" }[found?.status] ?? "failed");
  }
}
