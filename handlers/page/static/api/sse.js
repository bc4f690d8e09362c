// Server-sent events of a response: WHATWG HTML, section 9.2. EventSource can not send a body.

/**
 * Yield the events of a response as they come; a comment is an event of the name "comment".
 * @param {Response} response
 * @returns {AsyncGenerator<{id: string, event: string, data: string}>}
 */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let given = { id: "", event: "", data: [] };
  try {
    for (;;) {
      const { done, value } = await reader.read();
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
    reader.cancel().catch(() => {});
  }
}

function take(given, line) {
  const at = line.indexOf(":");
  const name = at < 0 ? line : line.slice(0, at);
  const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
  if (name === "data") given.data.push(value);
  else if (name === "id") given.id = value;
  else if (name === "event") given.event = value;
}
