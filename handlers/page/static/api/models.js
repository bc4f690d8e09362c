// The models that can be asked.

import { keep, kept } from "../lib/kept.js";
import { get } from "./client.js";

/** @typedef {{id: string, loaded: boolean, loading?: number, demo?: boolean, context?: number, tools: boolean, reasoning: boolean}} Model */

/** @type {Promise<Model[]> | null} */
let asked = null;

/** Return the models that answer, aliases left out; asked for once, unless `again`. */
export function models(again = false) {
  if (again || !asked) {
    asked = get("models").then(({ data }) => data.filter(answers).map(modelOf));
    asked.catch(() => (asked = null));
  }
  return asked;
}

function answers(entry) {
  return !entry.alias_of && entry.modalities.output.includes("text");
}

function modelOf(entry) {
  const { id, loaded, loading, demo, context_length: context, tools, reasoning } = entry;
  return { id, loaded, loading, demo: Boolean(demo), context, tools: Boolean(tools), reasoning: Boolean(reasoning) };
}

/** Return the model to begin with: the one used last, if it is still there. */
export async function usualModel() {
  const all = await models();
  const last = lately().find((id) => all.some((model) => model.id === id));
  return all.find((model) => model.id === last) ?? all[0] ?? null;
}

/** Return a model by its id, with nothing but the id if it is not served any more. */
export async function modelNamed(id) {
  const all = await models();
  return all.find((model) => model.id === id) ?? { id, loaded: false, tools: false, reasoning: false, gone: true };
}

/** Return the ids of the models that were asked last, the newest first. */
export function lately() {
  return kept("models", []);
}

/** Note that a model was asked. */
export function noteUse(id) {
  keep("models", [id, ...lately().filter((other) => other !== id)].slice(0, 5));
}
