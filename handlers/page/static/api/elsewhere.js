// What other devices do. The page asks for the conversations that changed last, as long as somebody can see it: often
// while they change, less often while nothing does.

import { tell } from "../lib/bus.js";
import "../lib/more.js";
import { get } from "./client.js";

const FEW = 5;
const LEAST_SECONDS = 3;
const MOST_SECONDS = 15;
const GROWTH = 1.5;

/** Tells "latest" with the conversations that changed last, and "elsewhere" of each that changed since it looked. */
export class Elsewhere {
  constructor() {
    this.off = new AbortController();
    const { signal } = this.off;
    /** How each was when it was looked at. @type {Map<string, {updated_at: number, message_count: number}> | null} */
    this.known = null;
    this.timer = 0;
    this.seconds = LEAST_SECONDS;
    const back = () => this.#lookIn(0);
    addEventListener("focus", back, { signal });
    document.addEventListener("visibilitychange", back, { signal });
    this.#lookIn(0);
  }

  /** End it: nobody is signed in any more. */
  stop() {
    this.off.abort();
    clearTimeout(this.timer);
  }

  #lookIn(seconds) {
    clearTimeout(this.timer);
    if (!document.hidden && !this.off.signal.aborted) this.timer = setTimeout(() => this.#look(), seconds * 1000);
  }

  async #look() {
    try {
      const { data } = await get(`conversations?limit=${FEW}`, { signal: this.off.signal });
      const changed = this.#changed(data);
      tell("latest", data);
      for (const one of changed) tell("elsewhere", one);
      this.seconds = changed.length ? LEAST_SECONDS : Math.min(MOST_SECONDS, this.seconds * GROWTH);
    } catch (error) {
      this.seconds = Math.max(MOST_SECONDS, error.seconds ?? 0);
    }
    this.#lookIn(this.seconds);
  }

  /** Return those that changed since the last look, the oldest change first. */
  #changed(data) {
    const before = this.known;
    this.known = new Map(data.map((one) => [one.id, one]));
    if (!before) return [];
    const oldest = Math.min(...[...before.values()].map((one) => one.updated_at));
    const isNew = (one, was) => (was ? one.updated_at !== was.updated_at || one.message_count !== was.message_count : one.updated_at >= oldest);
    return data.filter((one) => isNew(one, before.get(one.id))).reverse();
  }
}
