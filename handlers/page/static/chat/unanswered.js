// Requests that got no answer: the network was lost, and nobody knows whether they were carried out.

import { ApiError, Offline } from "../api/client.js";
import { pause } from "../lib/pause.js";

/** Seconds before each look for what such a request made: the server may be at work on it. */
export const LOOKS = [0, 1];

/** Return whether a request may have been carried out: no answer came, or that of a proxy, or that of its twin. */
export function isUnanswered(error) {
  if (error instanceof Offline) return true;
  if (!(error instanceof ApiError)) return false;
  return error.status >= 502 ? error.code === "unknown" : error.status === 409 && error.param === "message_id";
}

/**
 * Look for what a request made, after each of these pauses.
 * @param {() => Promise<string | null>} find
 * @param {number[]} pauses seconds
 * @returns {Promise<{id: string | null, reached: boolean}>} `reached`: the server could be asked
 */
export async function lookFor(find, pauses) {
  for (const seconds of pauses) {
    await pause(seconds);
    try {
      const id = await find();
      if (id) return { id, reached: true };
    } catch {
      return { id: null, reached: false };
    }
  }
  return { id: null, reached: true };
}
