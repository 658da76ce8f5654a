// A job's log: lines as they come, followed until somebody scrolls up to read.

import { elementOf, setText } from "../client/view/element_of.js";
import { count, moment, plain, timeOfDay } from "../client/view/text.js";
import { added, MOST } from "./log_lines.js";

/**
 * @typedef {import("./log_lines.js").Entry} Entry
 * @typedef {import("../client/shapes.js").LogLine} LogLine
 */

/** Characters of one line that are shown; the whole stands in its title. */
const LONGEST = 2_000;

/** Lines that go at a time when there are too many. */
const SPARE = 200;

/** Pixels from the end that still count as the end. */
const NEAR = 24;

const LEVELS = new Set(["debug", "info", "warning", "error", "critical"]);

/** The lines, at most `MOST`; a gap is a line of its own. */
export class LogView {
  /** @type {Entry[]} */
  #entries = [];
  /** @type {Entry[]} */
  #waiting = [];
  #follows = true;
  #lines = elementOf("ol", {});
  #scroller = elementOf(
    "div",
    { class: "log", role: "log", "aria-live": "off", "aria-label": "log lines", tabindex: 0 },
    this.#lines,
  );
  #follow = elementOf("button", { type: "button", class: "follow", hidden: true }, "↓ Follow");
  #none = elementOf("p", { class: "quiet none" }, "No log line yet.");
  element = elementOf("div", { class: "log-box" }, this.#scroller, this.#none, this.#follow);

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    this.#follow.addEventListener("click", () => this.#resume());
    this.#scroller.hidden = true;
  }

  /** @param {LogLine} line one more, live */
  add(line) {
    this.#waiting.push(line);
    if (this.#waiting.length > 2 * MOST) this.#waiting.splice(0, this.#waiting.length - MOST);
  }

  /** @param {string} why events are missing here */
  mark(why) {
    this.#waiting.push({ gap: why });
  }

  /** @param {readonly LogLine[]} tail a snapshot's lines, oldest first */
  take(tail) {
    const last = this.#waiting.length > 0 ? [...this.#entries.slice(-MOST), ...this.#waiting] : this.#entries;
    this.#waiting.push(...added(last, tail));
  }

  /** Another run begins with no lines. */
  clear() {
    this.#entries = [];
    this.#waiting = [];
    this.#lines.replaceChildren();
    this.#scroller.hidden = true;
    this.#none.hidden = false;
    this.#follow.hidden = true;
    this.#follows = true;
  }

  /** Puts what has come on the page. */
  draw() {
    if (this.#waiting.length === 0) return;
    const news = this.#waiting.slice(-MOST);
    this.#waiting = [];
    this.#entries.push(...news);
    // some at a time: what goes from the top moves all that is below it
    if (this.#entries.length > MOST) this.#drop(this.#entries.length - MOST + SPARE);
    const lines = document.createDocumentFragment();
    for (const entry of news) lines.append(lineOf(entry));
    this.#lines.append(lines);
    this.#scroller.hidden = false;
    this.#none.hidden = true;
    if (this.#follows) this.#toEnd();
    else setText(this.#follow, "↓ Follow, there is more");
  }

  /** @param {number} over */
  #drop(over) {
    this.#entries.splice(0, over);
    if (over >= this.#lines.childElementCount) return this.#lines.replaceChildren();
    for (let index = 0; index < over; index++) this.#lines.firstElementChild?.remove();
  }

  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#follow.hidden = this.#follows;
    if (this.#follows) setText(this.#follow, "↓ Follow");
  }

  #resume() {
    this.#follows = true;
    this.#follow.hidden = true;
    this.#toEnd();
    this.#scroller.focus({ preventScroll: true });
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

/** @param {Entry} entry */
function lineOf(entry) {
  if ("gap" in entry) return elementOf("li", { class: "gap" }, `⋯ ${entry.gap}`);
  const message = entry.message ?? "";
  const cut = message.length > LONGEST;
  const level = LEVELS.has(entry.level) ? entry.level : "info";
  const words = cut ? `${plain(message.slice(0, LONGEST))}… (${count(message.length)} characters)` : plain(message);
  const at = moment(entry.at) ?? Number.NaN;
  return elementOf(
    "li",
    { "data-level": level },
    elementOf("time", { datetime: entry.at, title: plain(entry.at) }, timeOfDay(at, at)),
    elementOf("span", { class: "level" }, plain(entry.level).slice(0, 10)),
    elementOf("span", { class: "said words", title: cut ? plain(message) : null }, words),
  );
}
