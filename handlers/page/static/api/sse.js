// Server-sent events of a response: WHATWG HTML, section 9.2. EventSource can not send a body.

import { Offline } from "./client.js";

// Servers write comments into streams that have nothing to say: every 15 seconds, unless they are told otherwise.
const SILENCE_MS = 60_000;

/**
 * Yield the events of a response as they come; a comment is an event of the name "comment". Throws Offline where the
 * connection breaks; a connection that is silent for long, or whose network is gone, just ends.
 * @param {Response} response
 * @returns {AsyncGenerator<{id: string, event: string, data: string}>}
 */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let given = { id: "", event: "", data: [] };
  const leave = () => reader.cancel().catch(() => {});
  let timer = 0;
  addEventListener("offline", leave);
  try {
    for (;;) {
      clearTimeout(timer);
      timer = setTimeout(leave, SILENCE_MS);
      const { done, value } = await reader.read().catch(broken);
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (given.data.length) yield { id: given.id, event: given.event || "message", data: given.data.join("\n") };
          given = { id: given.id, event: "", data: [] };
        } else if (line.startsWith(":")) yield { id: "", event: "comment", data: line.slice(1).trim() };
        else take(given, line);
      }
    }
  } finally {
    clearTimeout(timer);
    removeEventListener("offline", leave);
    leave();
  }
}

/** fetch() says that a connection broke by a TypeError, as of a mistake in a script. */
function broken(error) {
  throw error.name === "AbortError" ? error : new Offline("the stream broke off", { cause: error });
}

function take(given, line) {
  const at = line.indexOf(":");
  const name = at < 0 ? line : line.slice(0, at);
  const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
  if (name === "data") given.data.push(value);
  else if (name === "id") given.id = value;
  else if (name === "event") given.event = value;
}
