// Who is signed in.

import { forgetPerson } from "../lib/kept.js";
import { get, post, useKey } from "./client.js";

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

/** Sign in with an API key. Throws ApiError for one that opens nothing. */
export async function signInWithKey(key) {
  useKey(key);
  try {
    person = await get("user/profile", { quiet: true });
  } catch (error) {
    useKey(null);
    throw error;
  }
  return person;
}

/** Sign out, and forget what this browser kept of the person. */
export async function signOut() {
  try {
    await post("auth/logout", undefined, { quiet: true });
  } catch {
    // A key has no session to end.
  }
  useKey(null);
  person = null;
  forgetPerson();
}

/** Note that the session is over; drafts stay. */
export function ended() {
  person = null;
}
