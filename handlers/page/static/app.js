// The page: who is signed in, where the reader is, and the frame around it.

import { ended, hasProvider, isArrival, recall, sharedSecret, signIn, signOut, takeArrival, whoAmI } from "./api/session.js";
import "./chat/composer.js";
import { showConversation } from "./chat/view.js";
import { listen } from "./lib/bus.js";
import { h, icon, iconButton } from "./lib/dom.js";
import { keepFiles } from "./lib/html.js";
import { startKeys } from "./lib/keys.js";
import { showLook } from "./lib/look.js";
import { here, linkTo, startRouter } from "./lib/router.js";
import { loadWords, t } from "./lib/words.js";
import "./list/list.js";
import { showSignIn } from "./pages/signin.js";

/** What stands around every page: the list, the bar with the title, and the field to write in. */
export class Frame {
  constructor(place) {
    this.list = /** @type {import("./list/list.js").List} */ (document.createElement("jan-list"));
    this.list.className = "side";
    this.list.id = "side";
    this.list.setAttribute("role", "complementary");
    this.list.setAttribute("aria-label", t("list.conversations"));
    /** Settled when the newest conversations are in the list, or can't be read. */
    this.listed = Promise.resolve();
    this.composer = /** @type {import("./chat/composer.js").Composer} */ (document.createElement("jan-composer"));
    this.title = h("h1.cut", { dir: "auto" });
    this.buttons = h("span.row");
    this.opener = iconButton("menu", t("list.show"), () => this.openList(true), { kind: "b.quiet.icon.open", "aria-controls": "side" });
    this.top = h("header.top", {}, this.opener, this.title, h("span.sp"), this.buttons);
    this.strip = h("div.strip", { role: "status", hidden: true });
    this.main = h("main", { id: "page", tabindex: -1 });
    this.foot = h("section.foot", { "aria-label": t("write.message"), hidden: true }, this.composer);
    this.page = h("div.page", {}, this.top, this.strip, this.main, this.foot);
    this.app = h("div.app", {}, this.list, this.page);
    const skip = h("a.skip", { href: "#page" }, t("skip"));
    place.replaceChildren(skip, this.app);
    this.page.addEventListener("click", (event) => this.opener.contains(event.target) || this.app.classList.remove("list-open"));
    this.list.addEventListener("keydown", (event) => event.key === "Escape" && this.app.classList.contains("list-open") && this.openList(false));
    this.list.addEventListener("hide", () => this.openList(false));
    this.list.addEventListener("click", (event) => /** @type {Element} */ (event.target).closest("a") && this.app.classList.remove("list-open"));
    listen("offline", () => this.#offline(true));
    listen("online", () => this.#offline(false));
  }

  /** Open the list, which is a drawer in a narrow window, or close it. */
  openList(open) {
    const narrow = matchMedia("(width < 64rem)").matches;
    this.app.classList.toggle("list-open", open && narrow);
    this.app.classList.toggle("list-away", !open && !narrow);
    (open ? this.list.querySelector("a") : this.opener).focus();
  }

  /** Show the content of a page. */
  showMain(main) {
    this.main.replaceWith(main);
    this.main = main;
  }

  showTitle(words, buttons = []) {
    this.title.textContent = words;
    this.buttons.replaceChildren(...buttons);
    document.title = `${words} · Jan`;
  }

  /** Show the field to write in, or not. */
  showFoot(is) {
    this.foot.hidden = !is;
  }

  #offline(is) {
    if (this.strip.hidden === !is) return;
    this.strip.hidden = !is;
    this.strip.replaceChildren(icon("off"), h("span", {}, t("offline.strip")));
  }

  /** Show who is signed in at the foot of the list. */
  showPerson(person) {
    this.list.foot.replaceChildren(h("a.line", { href: linkTo({ account: "usage" }) }, icon("user"), h("span.cut", { dir: "auto" }, person.name || person.email), h("span.tail", {}, icon("set"))));
  }
}

const PAGES = {
  search: () => import("./pages/search.js").then((module) => module.showSearch),
  account: () => import("./pages/account.js").then((module) => module.showAccount),
  compare: () => import("./pages/compare.js").then((module) => module.showCompare),
  archive: () => import("./pages/archive.js").then((module) => module.showArchive),
  tree: () => import("./pages/tree.js").then((module) => module.showTree),
};

const WATCH_AFTER_MS = 2000;

class App {
  constructor(place) {
    this.place = place;
    this.leave = () => {};
    this.turn = 0;
  }

  /** Begin; `asked` is the answer to who is signed in, null if a link has to be tried before. */
  async start(asked) {
    startRouter();
    startKeys();
    listen("place", () => this.frame && this.show());
    listen("signed-out", () => this.#over());
    listen("sign-out", () => signOut().then(() => location.assign(location.pathname)));
    // Such a link in a tab that shows the page already changes only the fragment.
    addEventListener("hashchange", () => isArrival() && location.reload());
    const { code, failure } = takeArrival();
    let note = failure ? t("signin.failed", { code: failure }) : "";
    if (code) await signIn({ code }).catch(() => (note = t("signin.linkOver")));
    const person = whoAmI() ?? (await (asked ?? recall().catch(() => null)));
    if (person) await this.enter();
    else this.askWho(note);
  }

  askWho(note = "") {
    this.leave();
    this.elsewhere?.stop();
    this.elsewhere = null;
    this.frame = null;
    showSignIn(this.place, () => this.enter(), { note, provider: hasProvider() });
  }

  /** Show the frame: somebody is signed in. */
  async enter() {
    this.frame = new Frame(this.place);
    this.frame.showPerson(whoAmI());
    this.frame.listed = this.frame.list.load().catch(() => {});
    await this.show();
    setTimeout(() => this.#watch().catch(() => {}), WATCH_AFTER_MS);
  }

  /** Begin to look what other devices do. */
  async #watch() {
    const { Elsewhere } = await import("./api/elsewhere.js");
    if (this.frame) this.elsewhere ??= new Elsewhere();
  }

  async show() {
    const place = here();
    const turn = ++this.turn;
    this.leave();
    this.leave = () => {};
    const page = "search" in place ? "search" : "account" in place ? "account" : place.view in PAGES ? place.view : null;
    try {
      const show = page ? await PAGES[page]() : showConversation;
      if (turn !== this.turn) return;
      const leave = await show(this.frame, place);
      if (turn === this.turn) this.leave = leave ?? this.leave;
      else leave?.();
    } catch (error) {
      if (error instanceof TypeError && page) this.frame.showMain(h("main.body.slim", { id: "page" }, h("p", {}, t("stale"))));
      else throw error;
    }
  }

  #over() {
    if (!this.frame) return;
    ended();
    this.askWho(t("signin.over"));
  }
}

const secret = sharedSecret();
const asked = secret || location.hash.startsWith("#start=") ? null : recall().catch(() => null);
await loadWords();
showLook();
const place = h("div", { id: "root" });
document.body.append(place, h("p.hide", { id: "said", role: "status" }));
if (secret) {
  // A link within a text must not lead away from it.
  addEventListener("hashchange", () => (isArrival() ? location.reload() : history.replaceState(null, "", `#share=${secret}`)));
  await (await import("./pages/shared.js")).showShared(place, secret);
} else await new App(place).start(asked);
keepFiles();
