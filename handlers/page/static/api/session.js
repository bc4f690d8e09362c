// Who is signed in. The browser has the session in a cookie that no script can read.

import { forgetPerson } from "../lib/kept.js";
import { get, post, remove } from "./client.js";

/** @type {{id: string, name: string, email: string, role: string, created_at: string} | null} */
let person = null;
let provider = false;
/** @type {{max_seconds: number} | null} */
let sharing = null;

/** Return the person who is signed in, or null. */
export function whoAmI() {
  return person;
}

/** Return whether people can sign in at a provider. It is known after `recall`. */
export function hasProvider() {
  return provider;
}

/** Return how conversations can be shared by links; null if they can't. It is known after `recall`. */
export function sharingOffer() {
  return sharing;
}

/** Ask the server who this browser is signed in as; null if nobody. */
export async function recall() {
  const found = await get("auth/session", { quiet: true });
  provider = found.provider;
  sharing = found.sharing;
  person = found.session?.user ?? null;
  return person;
}

/** Sign in with an API key, or with the code of a link. Throws ApiError for one that opens nothing. */
export async function signIn(given) {
  person = (await post("auth/session", given, { quiet: true })).user;
  return person;
}

/** Return whether the URL has what the page has to begin anew for. */
export function isArrival() {
  return /^#(start|share)=/.test(location.hash);
}

/** Take out of the URL what nobody should see twice: the code of a link that signs in, or that of a failed sign-in. */
export function takeArrival() {
  const found = new URLSearchParams(location.hash.slice(1));
  const code = found.get("start");
  const failure = /^[a-z_]{1,64}$/.exec(found.get("sign_in_error") ?? "")?.[0];
  if (code || failure) history.replaceState(null, "", location.pathname + location.search);
  return { code, failure };
}

/** Return the secret of a link that shows a conversation, null if the URL has none. It stays in the URL, to come back to. */
export function sharedSecret() {
  return new URLSearchParams(location.hash.slice(1)).get("share");
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
