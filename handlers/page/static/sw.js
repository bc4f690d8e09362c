// Keeps the page's own files, and nothing of anybody: no answer of the API is stored.
const NAME = "jan-VERSION";
const FOLDER = "page/VERSION/";
const FILES = ["FILES"];

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(drop().then(() => self.clients.claim())));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  const home = new URL(self.registration.scope).pathname;
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && pathname === home) event.respondWith(shell(request));
  else if (pathname.startsWith(home + FOLDER)) event.respondWith(kept(request));
});

async function keep() {
  const cache = await caches.open(NAME);
  await cache.addAll(FILES.map((file) => FOLDER + file));
  const answer = await fetch(self.registration.scope, { headers: { Accept: "text/html" } });
  if (answer.ok) await cache.put("shell", answer);
}

async function drop() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("jan-") && name !== NAME).map((name) => caches.delete(name)));
}

async function shell(request) {
  try {
    return await fetch(request);
  } catch (lost) {
    const found = await caches.match("shell");
    if (!found) throw lost;
    return found;
  }
}

async function kept(request) {
  const found = await caches.match(request);
  if (found) return found;
  const answer = await fetch(request);
  if (answer.ok) (await caches.open(NAME)).put(request, answer.clone());
  return answer;
}
