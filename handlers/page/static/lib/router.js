// Where the reader is: in the query of the URL, so that any proxy's path will do.

import { tell } from "./bus.js";

/** Return the parts of the present URL: `c` is a conversation, `m` a message, `search`, `account`, `view`. */
export function here() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** Return the link to a place. */
export function linkTo(place) {
  const query = new URLSearchParams(Object.entries(place).filter(([, value]) => value !== undefined && value !== null));
  const text = query.toString();
  return text ? `?${text}` : location.pathname;
}

/** Go to a place; `replace` leaves no way back to the present one. */
export function go(place, { replace = false } = {}) {
  const to = linkTo(place);
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  tell("place", here());
}

/** Change the URL without going anywhere: a new conversation got its id. */
export function rename(place) {
  history.replaceState(null, "", linkTo(place));
}

/** Follow links within the page, and the browser's Back. */
export function startRouter() {
  addEventListener("popstate", () => tell("place", here()));
  document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest?.("a[href]");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
    const to = new URL(link.href, location.href);
    if (to.origin !== location.origin || to.pathname !== location.pathname) return;
    event.preventDefault();
    if (to.search === location.search && to.hash) reveal(to.hash.slice(1));
    else {
      history.pushState(null, "", to.search ? to.href : location.pathname);
      tell("place", here());
    }
  });
}

/** Show a part of the page and put the focus there, without a new entry in the history. */
function reveal(id) {
  const target = document.getElementById(decodeURIComponent(id));
  if (!target) return;
  target.scrollIntoView({ block: "start" });
  target.focus({ preventScroll: true });
}
