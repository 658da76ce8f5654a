// The dashboard's beginning: a token, a hub, and the page that the fragment names.

import { Milepost } from "../client/milepost.js";
import { Clock } from "../client/view/clock.js";
import { elementOf } from "../client/view/element_of.js";
import { look } from "../client/view/look.js";
import { Frame } from "./frame.js";
import { JobPage } from "./job_page.js";
import { ListPage } from "./list_page.js";
import { parse } from "./route.js";
import * as session from "./session.js";
import { SignIn } from "./sign_in.js";
import { applyTheme } from "./theme.js";

/**
 * What a page is given.
 * @typedef {object} Surroundings
 * @property {Milepost} hub
 * @property {Clock} clock
 * @property {Frame} frame
 *
 * @typedef {object} Page
 * @property {HTMLElement} element
 * @property {() => void} close
 * @property {(event: KeyboardEvent) => void} [key]
 */

class Dashboard {
  #frame = new Frame({ onSignOut: () => this.#signOut() });
  #signIn = new SignIn((token) => this.#begin(token));
  #holder = elementOf("div", { class: "page" });
  /** @type {Milepost | null} */
  #hub = null;
  /** @type {Clock | null} */
  #clock = null;
  /** @type {Page | null} */
  #page = null;
  /** @type {import("./list_page.js").Remembered} */
  #remembered = { scroll: 0, summaries: [], job: null };
  #everConnected = false;

  start() {
    session.takeFromFragment();
    addEventListener("hashchange", this.#go);
    addEventListener("keydown", this.#key);
    const token = session.token();
    if (token === null) this.#askForToken("");
    else this.#begin(token);
  }

  /** @param {string} token */
  #begin(token) {
    this.#end();
    session.keep(token);
    this.#hub = new Milepost(location.origin, { token });
    this.#clock = new Clock(this.#hub);
    this.#hub.addEventListener("status", this.#look);
    this.#frame.watch(this.#hub);
    this.#open();
  }

  #end() {
    this.#page?.close();
    this.#page = null;
    this.#clock?.close();
    this.#hub?.removeEventListener("status", this.#look);
    this.#hub?.close();
    this.#hub = null;
    this.#everConnected = false;
    this.#remembered = { scroll: 0, summaries: [], job: null };
    this.#frame.watch(null);
  }

  #signOut() {
    session.forget();
    this.#end();
    this.#askForToken("");
  }

  /** @param {string} why */
  #askForToken(why) {
    this.#signIn.show(why);
    document.title = "Sign in – Milepost";
    this.#frame.show(this.#signIn.element);
    this.#signIn.focus();
  }

  #go = () => {
    // a link with a token of its own, opened in this tab
    if (session.takeFromFragment()) this.#begin(/** @type {string} */ (session.token()));
    else if (this.#page !== null) {
      this.#open();
      // the box for another token stays above whatever is gone to
      this.#look();
    }
  };

  #open() {
    const { place } = parse(location.hash);
    if (this.#page instanceof ListPage && place.page === "list") return this.#page.show(place);
    this.#page?.close();
    const hub = /** @type {Milepost} */ (this.#hub);
    const clock = /** @type {Clock} */ (this.#clock);
    const around = { hub, clock, frame: this.#frame };
    this.#page = place.page === "list" ? new ListPage(around, place, this.#remembered) : new JobPage(around, place.job);
    if (place.page === "job") this.#remembered.job = place.job;
    this.#holder.replaceChildren(this.#page.element);
    this.#frame.show(this.#holder);
    if (this.#page instanceof ListPage) this.#enterList(this.#page);
    else this.#enterJob();
  }

  /** @param {ListPage} page */
  #enterList(page) {
    document.title = "Jobs – Milepost";
    page.entered();
  }

  #enterJob() {
    scrollTo(0, 0);
    this.#frame.enter();
  }

  #look = () => {
    const { state, reason } = /** @type {Milepost} */ (this.#hub).status;
    if (state === "connected") this.#everConnected = true;
    if (state !== "refused") return this.#hideSignIn();
    const words = reason ?? "the hub has refused the token";
    session.forget();
    if (!this.#everConnected) {
      // nothing was seen, and nothing will be
      this.#page?.close();
      this.#page = null;
      return this.#askForToken(words);
    }
    // what was seen stays to be read, under the box for another token
    this.#signIn.show(words);
    this.#holder.prepend(this.#signIn.element);
  };

  /** The box above the page goes; one that is the page stays. */
  #hideSignIn() {
    const { element } = this.#signIn;
    if (element.parentElement === this.#holder) element.remove();
  }

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") !== null) return;
    if (event.key === "Escape" && this.#page instanceof JobPage) location.hash = this.#page.back;
    else this.#page?.key?.(event);
  };
}

document.adoptedStyleSheets = [look()];
applyTheme();
new Dashboard().start();
