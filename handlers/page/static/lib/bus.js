// What parts of the page tell each other.

const bus = new EventTarget();
const tabs = new BroadcastChannel("jan");
tabs.addEventListener("message", ({ data }) => tell(data.name, data.detail));

/** Tell everybody who listens. */
export function tell(name, detail) {
  bus.dispatchEvent(new CustomEvent(name, { detail }));
}

/** Tell the other tabs of this browser that show the page. */
export function tellTabs(name, detail) {
  tabs.postMessage({ name, detail });
}

/** Listen until `signal` is aborted. */
export function listen(name, call, signal) {
  bus.addEventListener(name, (event) => call(/** @type {CustomEvent} */ (event).detail), { signal });
}
