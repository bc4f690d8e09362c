// Who is signed in. The browser has the session in a cookie that no script can read.

import { forgetPerson } from "../lib/kept.js";
import { get, post, remove } from "./client.js";

/** @type {{id: string, name: string, email: string, role: string, created_at: string} | null} */
let person = null;

/** Return the person who is signed in, or null. */
export function whoAmI() {
  return person;
}

/** Ask the server who this browser is signed in as; null if nobody. */
export async function recall() {
  try {
    person = await get("user/profile", { quiet: true });
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    person = null;
  }
  return person;
}

/** Sign in with an API key, or with the code of a link. Throws ApiError for one that opens nothing. */
export async function signIn(given) {
  person = (await post("auth/session", given, { quiet: true })).user;
  return person;
}

/** Take the code of a link that signs in out of the URL, which nobody should see; null if there is none. */
export function takeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

/** Sign out, and forget what this browser kept of the person. */
export async function signOut() {
  await remove("auth/session", { quiet: true }).catch(() => {});
  person = null;
  forgetPerson();
}

/** Note that the session is over; drafts stay. */
export function ended() {
  person = null;
}
