// What this browser keeps: drafts and choices of appearance. It works without storage too, until the page is closed.

const memory = new Map();

/** Return what is kept under a name, or `otherwise`. */
export function kept(name, otherwise = null) {
  try {
    const text = localStorage.getItem(`jan.${name}`);
    return text === null ? (memory.get(name) ?? otherwise) : JSON.parse(text);
  } catch {
    return memory.get(name) ?? otherwise;
  }
}

/** Keep a value; null forgets it. */
export function keep(name, value) {
  if (value === null) memory.delete(name);
  else memory.set(name, value);
  try {
    if (value === null) localStorage.removeItem(`jan.${name}`);
    else localStorage.setItem(`jan.${name}`, JSON.stringify(value));
  } catch {
    // Full or forbidden: the memory has it.
  }
}

/** Return the names that begin with a prefix, without it. */
export function keptNames(prefix) {
  const whole = `jan.${prefix}`;
  const found = new Set([...memory.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length)));
  try {
    for (const name of Object.keys(localStorage)) if (name.startsWith(whole)) found.add(name.slice(whole.length));
  } catch {
    // The memory has them.
  }
  return [...found];
}

/** Forget everything that belongs to a person: on signing out. */
export function forgetPerson() {
  for (const name of keptNames("draft.")) keep(`draft.${name}`, null);
  for (const name of keptNames("place.")) keep(`place.${name}`, null);
  keep("folders", null);
  keep("models", null);
}
