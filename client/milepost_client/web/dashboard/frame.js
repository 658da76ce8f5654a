// What stands around every page: whose jobs these are, the connection to the hub, the theme, the way out.

import { elementOf, inwardLink, setAttribute, setText, svgOf } from "../client/view/element_of.js";
import { clockTime, timeOfDay } from "../client/view/text.js";
import { theme, toggleTheme } from "./theme.js";

/**
 * @typedef {import("../client/milepost.js").Milepost} Milepost
 * @typedef {import("../client/milepost.js").Status} Status
 */

const TRANSPORTS = Object.freeze({ websocket: "WebSocket", sse: "SSE", polling: "polling" });

/** The bar on top, the note under it while something is wrong with the connection, and the place for the page. */
export class Frame {
  #tenant = elementOf("span", { class: "tenant cut" });
  #connection = elementOf("span", { class: "connection" });
  #word = elementOf("span", { class: "cut" });
  #how = elementOf("span", { class: "how quiet" });
  #theme = elementOf("button", { type: "button", class: "plain" });
  #out = elementOf("button", { type: "button", class: "plain", hidden: true }, "Sign out");
  #trouble = elementOf("div", { class: "trouble-strip", hidden: true });
  #troubleWords = elementOf("span", {});
  #next = elementOf("span", { class: "quiet" });
  #again = elementOf("button", { type: "button" }, "Try now");
  #live = elementOf("div", { class: "unseen", role: "status", "aria-live": "polite" });
  #main = elementOf("main", { id: "main", tabindex: -1 });

  /** @type {Milepost | null} */
  #hub = null;
  /** @type {ReturnType<typeof setInterval> | null} */
  #timer = null;
  /** When the connection was lost, Date.now(). @type {number | null} */
  #lostAt = null;
  #wasLive = false;

  /** @param {{onSignOut: () => void}} acts */
  constructor({ onSignOut }) {
    this.#out.addEventListener("click", onSignOut);
    this.#again.addEventListener("click", () => this.#hub?.connect());
    this.#theme.addEventListener("click", () => this.#nameTheme(toggleTheme()));
    this.#theme.append(halfMoon());
    this.#nameTheme(theme());
    this.#connection.append(elementOf("span", { class: "lamp", "aria-hidden": "true" }), this.#word, this.#how);
    this.#trouble.append(this.#troubleWords, this.#next, this.#again);
    document.body.replaceChildren(this.#header(), this.#trouble, this.#main, this.#live);
    document.body.prepend(this.#skip());
    this.#look();
  }

  /**
   * The page between the frame's parts.
   * @param {Node} page
   */
  show(page) {
    this.#main.replaceChildren(page);
  }

  /** To the top of the page, for the eyes and for a screen reader. */
  enter() {
    this.#main.focus({ preventScroll: true });
  }

  /**
   * Tells a screen reader, once it has finished what it says.
   * @param {string} words
   */
  announce(words) {
    this.#live.replaceChildren(words);
  }

  /**
   * Another hub's state from now on; null: nobody is signed in.
   * @param {Milepost | null} hub
   */
  watch(hub) {
    this.#hub?.removeEventListener("status", this.#look);
    this.#hub = hub;
    this.#lostAt = null;
    this.#wasLive = false;
    hub?.addEventListener("status", this.#look);
    this.#out.hidden = hub === null;
    this.#look();
  }

  #header() {
    const name = elementOf("span", {}, "Milepost");
    const home = inwardLink("#/", { class: "brand", "aria-label": "Milepost, all jobs" }, mark(), name);
    const space = elementOf("span", { class: "space" });
    const acts = [this.#connection, this.#theme, this.#out];
    return elementOf(
      "header",
      {},
      elementOf("div", { class: "inner" }, home, this.#tenant, space, ...acts),
    );
  }

  #skip() {
    const link = elementOf("button", { type: "button", class: "skip" }, "Skip to the page");
    link.addEventListener("click", () => this.enter());
    return link;
  }

  /** @param {string} shown */
  #nameTheme(shown) {
    const other = shown === "dark" ? "light" : "dark";
    setAttribute(this.#theme, "aria-label", `Switch to ${other}`);
    setAttribute(this.#theme, "title", `Switch to ${other}`);
  }

  #look = () => {
    const status = this.#hub?.status ?? null;
    setText(this.#tenant, this.#hub?.grant?.tenant ?? "");
    this.#remember(status);
    setAttribute(this.#connection, "data-connection", status === null ? "none" : lamp(status));
    setText(this.#word, status === null ? "" : word(status));
    setText(this.#how, status?.state === "connected" && status.transport !== null ? TRANSPORTS[status.transport] : "");
    this.#draw();
    const counting = status?.retryAt !== null && status?.retryAt !== undefined;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = counting ? setInterval(this.#draw, 1_000) : null;
  };

  /** @param {Status | null} status */
  #remember(status) {
    const live = status !== null && lamp(status) === "live";
    if (live === this.#wasLive) return;
    if (live) {
      if (this.#lostAt !== null) this.announce("Connected again");
      this.#lostAt = null;
    } else if (status !== null && status.state !== "closed") {
      this.#lostAt = Date.now();
      this.announce(`Connection lost: ${trouble(status)}`);
    }
    this.#wasLive = live;
  }

  #draw = () => {
    const status = this.#hub?.status ?? null;
    const words = status === null || status.state === "refused" ? "" : trouble(status);
    setAttribute(document.documentElement, "data-live", String(status === null || lamp(status) === "live"));
    this.#trouble.hidden = words === "";
    if (status === null || words === "") return;
    const since = this.#lostAt === null ? "" : ` Clocks stand still since ${timeOfDay(this.#lostAt, Date.now())}.`;
    setText(this.#troubleWords, `${words}.${since}`);
    setText(this.#next, status.retryAt === null ? "" : `Next try in ${clockTime(status.retryAt - Date.now() + 999)}.`);
    this.#again.hidden = status.state !== "reconnecting" && status.state !== "offline";
  };
}

/**
 * @param {Status} status
 * @returns {string} the colour of the connection's lamp
 */
function lamp({ state, upstream }) {
  if (state === "connected") return upstream === "down" ? "lost" : "live";
  return { connecting: "waiting", reconnecting: "lost", offline: "lost", refused: "refused", closed: "none" }[state];
}

/**
 * @param {Status} status
 * @returns {string} the connection in a word
 */
function word({ state, upstream }) {
  if (state !== "connected") return state === "closed" ? "" : state;
  return upstream === "down" ? "NATS is away" : "live";
}

/**
 * @param {Status} status
 * @returns {string} what is wrong, without a full stop; nothing when nothing is
 */
function trouble({ state, upstream, reason }) {
  if (state === "connected" && upstream === "down") return "The hub has lost NATS: nothing arrives until it is back";
  if (state === "offline") return "This browser has no network";
  if (state === "reconnecting") return reason ? `Reconnecting: ${reason}` : "Reconnecting";
  if (state === "refused") return reason ?? "The hub has refused the token";
  return "";
}

/** Half light, half dark. */
const halfMoon = () =>
  svgOf(
    "svg",
    { viewBox: "0 0 16 16", "aria-hidden": "true" },
    svgOf("circle", { cx: 8, cy: 8, r: 6.25, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
    svgOf("path", { d: "M8 1.75a6.25 6.25 0 0 1 0 12.5z", fill: "currentColor" }),
  );

/** The milestone in the corner. */
function mark() {
  const image = elementOf("img", { alt: "", width: 20, height: 20 });
  image.src = "/dashboard/icon.svg";
  return image;
}
