// The objects in a JSON file, one after another, without holding more of the file than one of them.

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [34, 92, 91, 93, 123, 125];

/**
 * Yield the objects of an array, or of a file that has one on each line, as they were written.
 * @param {Blob} file
 * @returns {AsyncGenerator<Blob>}
 */
export async function* objectsOf(file) {
  const reader = file.stream().getReader();
  let [depth, floor, inString, escaped] = [0, 0, false, false];
  let parts = [];
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const chunk = read.value;
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN || byte === OPEN_LIST) {
        if (depth === floor) start = at;
        if (depth === 0 && byte === OPEN_LIST) floor = 1;
        depth += 1;
      } else if (byte === CLOSE || byte === CLOSE_LIST) {
        depth = Math.max(0, depth - 1);
        if (depth < floor) floor = 0;
        else if (depth === floor) {
          yield new Blob([...parts, chunk.subarray(start, at + 1)]);
          parts = [];
        }
      }
    }
    // A Blob keeps what it holds outside of the page's memory.
    if (depth > floor) parts = [new Blob([...parts, chunk.subarray(start)])];
  }
  if (depth > floor) yield new Blob(parts); // cut off: the server says so
}
