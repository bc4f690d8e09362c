// Requests to the server's public API.

import { tell } from "../lib/bus.js";

const root = new URL("../../../", import.meta.url);
const prefix = document.documentElement.dataset.api ?? "api/v1";

/** A refusal of the server. `code` is its name, `seconds` how long to wait, null if that is unknown. */
export class ApiError extends Error {
  constructor(status, error, headers) {
    super(error.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = error.code ?? "unknown";
    this.param = error.param ?? null;
    this.seconds = secondsOf(headers);
    this.parentId = headers?.get("X-Jan-Parent-Message-Id") ?? null;
  }
}

/** The server can not be reached. */
export class Offline extends Error {}

function secondsOf(headers) {
  const text = headers?.get("Retry-After");
  return text && /^\d+$/.test(text) ? Number(text) : null;
}

/** Return the URL of a path below the API's prefix. */
export function apiUrl(path) {
  return new URL(`${prefix}/${path}`, root);
}

/** Return the URL of a path of the server itself, such as a sign-in. */
export function serverUrl(path) {
  return new URL(path, root);
}

/**
 * Send a request and return the response, whose status is a success.
 * @param {string} method
 * @param {string} path below the API's prefix
 * @param {any} [body] sent as JSON, or as it is if it is a text
 * @param {{signal?: AbortSignal, headers?: Record<string, string>, quiet?: boolean, keepalive?: boolean, credentials?: RequestCredentials}} [options]
 *   `quiet`: a missing session is nothing to tell of. `keepalive`: it outlives the page. `credentials`: whether it has
 *   the cookie.
 */
export async function send(method, path, body, { signal, headers = {}, quiet = false, keepalive = false, credentials = "same-origin" } = {}) {
  const given = { ...headers };
  if (body !== undefined && !given["Content-Type"]) given["Content-Type"] = "application/json";
  const content = body === undefined || typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(apiUrl(path), { method, headers: given, body: content, signal, keepalive, credentials });
  } catch (error) {
    if (signal?.aborted) throw error;
    tell("offline");
    throw new Offline("offline", { cause: error });
  }
  tell("online");
  if (answer.ok) return answer;
  const error = await errorOf(answer);
  if (answer.status === 401 && !quiet) tell("signed-out", error);
  throw error;
}

async function errorOf(answer) {
  let told = {};
  try {
    const body = await answer.json();
    told = typeof body.error === "object" ? body.error : { message: body.error };
  } catch {
    // A proxy's page says nothing.
  }
  return new ApiError(answer.status, told, answer.headers);
}

/** Send a request and return the JSON of its answer. */
export async function call(method, path, body, options) {
  const answer = await send(method, path, body, options);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);
export const patch = (path, body) => call("PATCH", path, body);
export const remove = (path, options) => call("DELETE", path, undefined, options);

/** Return an id that nobody can guess, for what is sent once however often it is tried. */
export function newId(kind) {
  const bytes = crypto.getRandomValues(new Uint8Array(15)); // randomUUID is missing over plain HTTP
  return `${kind}_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
