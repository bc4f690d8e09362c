// How far a model is that loads at its first question. The answer's place says it.

import { get } from "../api/client.js";
import { models } from "../api/models.js";
import { tell } from "../lib/bus.js";
import "../lib/more.js";
import { pause } from "../lib/pause.js";

const FIRST_LOOK_SECONDS = 0.5;
const LOOK_SECONDS = 1;
const BEFORE = ["sending", "queued", "reading"];

/** Set the `loading` of an answer, 0 to 1, as long as it waits for its model to load; null then. */
export async function followLoad(answer) {
  const known = await models().catch(() => []);
  if (known.some(({ id, loaded }) => id === answer.model && loaded)) return;
  await pause(FIRST_LOOK_SECONDS);
  while (BEFORE.includes(answer.state)) {
    const { loaded, loading = 0 } = await get(`models/${encodeURIComponent(answer.model)}`).catch(() => ({ loaded: true }));
    if (loaded) break;
    set(answer, loading);
    await pause(LOOK_SECONDS);
  }
  set(answer, null);
  await models(true).catch(() => []);
  tell("model-loaded", answer.model);
}

function set(answer, part) {
  if (answer.loading === part) return;
  answer.loading = part;
  if (!answer.done) answer.dispatchEvent(new Event("change"));
}
