// The one place where text becomes HTML: that of the server's renderer, which has cleaned it.

const policy = globalThis.trustedTypes?.createPolicy("jan", { createHTML: (html) => html });

/** Show HTML that the server made of Markdown. */
export function showServerHtml(element, html) {
  element.innerHTML = policy ? policy.createHTML(html) : html;
}
