// The one place where text becomes HTML: that of the server's renderer, which has cleaned it.

const worker = new URL("../../../sw.js", import.meta.url).href;
const rules = {
  createHTML: (html) => html,
  createScriptURL(url) {
    if (url !== worker) throw new TypeError("Only the page's own worker is a script to load by its URL.");
    return url;
  },
};
const policy = globalThis.trustedTypes?.createPolicy("jan", rules) ?? rules;

/** Show HTML that the server made of Markdown. */
export function showServerHtml(element, html) {
  element.innerHTML = policy.createHTML(html);
}

/** Let the browser keep the page's files, so that it opens without a network. Only on https and on loopback. */
export function keepFiles() {
  navigator.serviceWorker?.register(policy.createScriptURL(worker)).catch(() => {});
}
