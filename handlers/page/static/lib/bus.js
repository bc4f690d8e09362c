// What parts of the page tell each other.

const bus = new EventTarget();

/** Tell everybody who listens. */
export function tell(name, detail) {
  bus.dispatchEvent(new CustomEvent(name, { detail }));
}

/** Listen until `signal` is aborted. */
export function listen(name, call, signal) {
  bus.addEventListener(name, (event) => call(/** @type {CustomEvent} */ (event).detail), { signal });
}
