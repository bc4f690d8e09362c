// The words and styles that the first load does not need. Every script that is loaded on demand imports this, and so
// waits for them.

import { h } from "./dom.js";
import { loadMoreWords } from "./words.js";

const styles = new Promise((done, failed) => {
  const refused = () => failed(new TypeError("more.css was not loaded"));
  document.head.append(h("link", { rel: "stylesheet", href: new URL("../more.css", import.meta.url).href, onload: done, onerror: refused }));
});
await Promise.all([loadMoreWords(), styles]);
