// All jobs of the token: search, filters with counts, and the rows in view.

import { elementOf, setAttribute, setText } from "../client/view/element_of.js";
import { sinceStart } from "../client/view/paces.js";
import { Rate } from "../client/view/rate.js";
import { Redraw } from "../client/view/redraw.js";
import { count, moment, stateOf } from "../client/view/text.js";
import { Empty } from "./empty.js";
import { FILTERS, write } from "./route.js";
import { Rows } from "./rows.js";

/**
 * @typedef {import("../client/list.js").Summary} Summary
 * @typedef {import("./route.js").ListPlace} ListPlace
 * @typedef {import("./main.js").Surroundings} Surroundings
 * @typedef {string | number} JobId
 *
 * What is kept of the list while a job is looked at.
 * @typedef {{scroll: number, summaries: readonly Summary[], job: string | null}} Remembered
 */

/** The order is looked at no more often than this, in ms; what is in the rows is as new as the frame. */
const SORT_EVERY = 400;

/** Filters shown even while nothing is in them. */
const ALWAYS = new Set(["", "running", "failed", "completed"]);

/** The list. What is read stays where it is: while it is scrolled or pointed at, new jobs wait behind a button. */
export class ListPage {
  #around;
  #jobs;
  #place;
  #remembered;
  #rows;
  #redraw = new Redraw(() => this.#draw());
  /** @type {Map<JobId, Rate>} */
  #rates = new Map();
  /** @type {Map<string, Summary>} */
  #before;
  /** @type {JobId[]} */
  #order = [];
  #isStale = true;
  #sortedAt = 0;
  #pointed = false;
  /** The order is one that somebody can read by: not that of a list of which the rest is still to come. */
  #isSettled = false;
  #refusal = "";
  #closed = new AbortController();

  #total = elementOf("span", { class: "total quiet" });
  #search = elementOf("input", {
    type: "search",
    placeholder: "Search name or id",
    "aria-label": "Search jobs by name or id",
    "aria-keyshortcuts": "/",
    autocomplete: "off",
    spellcheck: "false",
  });
  #filters = elementOf("div", { class: "filters", role: "group", "aria-label": "Filter by state" });
  /** @type {Map<string, {button: HTMLButtonElement, number: HTMLElement}>} */
  #buttons = new Map();
  #new = elementOf("button", { type: "button", class: "new", hidden: true });
  #empty = new Empty(() => this.#go({ query: "", status: "" }));
  element = elementOf("div", { class: "list-page" });

  /**
   * @param {Surroundings} around
   * @param {ListPlace} place
   * @param {Remembered} remembered
   */
  constructor(around, place, remembered) {
    this.#around = around;
    this.#place = place;
    this.#remembered = remembered;
    this.#before = new Map(remembered.summaries.map((summary) => [String(summary.jobId), summary]));
    this.#jobs = around.hub.jobs();
    this.#rows = new Rows(this.#summary, this.#pace);
    this.#build();
    this.#listen();
    this.#search.value = place.query;
    this.#draw();
  }

  /** Another search or filter. @param {ListPlace} place */
  show(place) {
    this.#place = place;
    if (this.#search.value.trim() !== place.query) this.#search.value = place.query;
    this.#arrange();
    this.#redraw.ask();
  }

  /** It is on the screen: back to where it was read. */
  entered() {
    this.#rows.measure();
    this.#draw();
    scrollTo(0, this.#remembered.scroll);
    const { job } = this.#remembered;
    const index = job === null ? -1 : this.#order.findIndex((id) => String(id) === job);
    this.#remembered.job = null;
    this.#draw();
    if (index >= 0) this.#rows.focus(index, this.#around.clock.now);
  }

  close() {
    this.#remembered.scroll = scrollY;
    if (this.#jobs.synced) this.#remembered.summaries = this.#jobs.list;
    this.#closed.abort();
    this.#redraw.cancel();
    this.#jobs.close();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const inSearch = event.target === this.#search;
    if (event.key === "/" && !inSearch) return this.#toSearch(event);
    if (event.key === "Escape" && inSearch) return this.#leaveSearch(event);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const isHere = inSearch || this.#rows.focused >= 0 || event.target === document.body;
    if (step !== undefined && isHere) this.#move(event, step);
  }

  /** @param {KeyboardEvent} event */
  #toSearch(event) {
    event.preventDefault();
    this.#search.focus();
    this.#search.select();
  }

  /** @param {KeyboardEvent} event */
  #leaveSearch(event) {
    event.preventDefault();
    if (this.#search.value === "") return this.#search.blur();
    this.#search.value = "";
    this.#typed();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} step
   */
  #move(event, step) {
    const at = this.#rows.focused;
    event.preventDefault();
    if (at === 0 && step < 0) return this.#search.focus();
    this.#rows.focus(at < 0 ? 0 : at + step, this.#around.clock.now);
  }

  #build() {
    for (const status of ["", ...FILTERS]) this.#filters.append(this.#filter(status));
    const heading = elementOf("h1", {}, "Jobs ", this.#total);
    const key = elementOf("kbd", { "aria-hidden": "true" }, "/");
    const search = elementOf("div", { class: "search" }, this.#search, key);
    this.element.append(
      elementOf("div", { class: "tools" }, heading, search, this.#filters, this.#new),
      elementOf("div", { class: "panel list" }, this.#rows.element, this.#empty.element),
    );
  }

  /** @param {string} status */
  #filter(status) {
    const number = elementOf("span", { class: "number" });
    const word = elementOf("span", {}, status === "" ? "All" : capital(status));
    const button = elementOf("button", { type: "button" }, word, " ", number);
    button.addEventListener("click", () => this.#go({ status }));
    this.#buttons.set(status, { button, number });
    return button;
  }

  #listen() {
    const { signal } = this.#closed;
    const rows = this.#rows.element;
    this.#jobs.addEventListener("change", (event) => this.#changed(event));
    this.#jobs.addEventListener("error", (event) => this.#refused(event));
    this.#around.clock.addEventListener("tick", this.#redraw.ask, { signal });
    this.#around.hub.addEventListener("status", this.#redraw.ask, { signal });
    addEventListener("scroll", this.#redraw.ask, { signal, passive: true });
    addEventListener("resize", () => this.#resized(), { signal });
    // a finger points at nothing once it is lifted
    rows.addEventListener("pointerenter", ({ pointerType }) => this.#point(pointerType === "mouse"));
    rows.addEventListener("pointerleave", () => this.#point(false));
    this.#search.addEventListener("input", () => this.#typed());
    this.#new.addEventListener("click", () => this.#showNew());
  }

  /** @param {Event} event */
  #refused(event) {
    this.#refusal = /** @type {import("../client/errors.js").FailureEvent} */ (event).error.message;
    this.#isStale = true;
    this.#redraw.ask();
  }

  #resized() {
    this.#rows.measure();
    this.#redraw.ask();
  }

  /** @param {boolean} pointed */
  #point(pointed) {
    this.#pointed = pointed;
    this.#redraw.ask();
  }

  /** @param {Event} event */
  #changed(event) {
    const { changed } = /** @type {import("../client/jobs.js").JobsEvent} */ (event);
    for (const id of changed) this.#feed(id);
    this.#isStale = true;
    this.#redraw.soon();
  }

  /** @param {JobId} id */
  #feed(id) {
    const summary = this.#jobs.get(id);
    const at = moment(summary?.lastEventAt);
    if (summary === undefined || summary.status !== "running" || summary.fraction === null || at === null) {
      this.#rates.delete(id);
      return;
    }
    let rate = this.#rates.get(id);
    if (rate === undefined) this.#rates.set(id, (rate = new Rate(moment(summary.startedAt))));
    rate.add(at, summary.fraction);
  }

  #typed() {
    this.#go({ query: this.#search.value.trim() }, true);
  }

  /**
   * @param {Partial<ListPlace>} change
   * @param {boolean} [typing] every letter is no step to go back to
   */
  #go(change, typing = false) {
    const place = { ...this.#place, ...change };
    if (typing) {
      history.replaceState(null, "", write(place));
      this.show(place);
    } else location.hash = write(place);
  }

  #showNew() {
    scrollTo(0, 0);
    this.#arrange();
    this.#draw();
    this.#rows.focus(0, this.#around.clock.now);
  }

  /** @param {JobId} id */
  #summary = (id) => this.#jobs.get(id) ?? this.#before.get(String(id));

  /**
   * @param {JobId} id
   * @param {number} now
   */
  #pace = (id, now) => {
    const rate = this.#rates.get(id);
    const perSecond = rate?.perSecond(now) ?? null;
    if (rate !== undefined && perSecond !== null) return { perSecond, left: rate.left(now, 1) };
    const summary = this.#summary(id);
    return summary === undefined ? { perSecond: null, left: null } : sinceStart(summary, now);
  };

  /** What the list is made of; until the hub has told it all, what was here before. */
  get #all() {
    return this.#jobs.synced || this.#before.size === 0 ? this.#jobs.list : [...this.#before.values()];
  }

  /** Whether somebody reads: then nothing moves. */
  get #isRead() {
    return this.#pointed || this.#rows.focused >= 0 || scrollY > 0;
  }

  #draw() {
    const now = performance.now();
    if (this.#isStale && now - this.#sortedAt >= SORT_EVERY) this.#look(now);
    else if (this.#isStale) this.#later();
    this.#rows.draw(this.#around.clock.now);
  }

  /** @type {ReturnType<typeof setTimeout> | null} */
  #waiting = null;

  #later() {
    this.#waiting ??= setTimeout(() => {
      this.#waiting = null;
      if (!this.#closed.signal.aborted) this.#redraw.ask();
    }, SORT_EVERY);
  }

  /** @param {number} at */
  #look(at) {
    this.#sortedAt = at;
    const all = this.#all;
    this.#count(all);
    const fresh = this.#matching(all);
    const shown = new Set(this.#order);
    const waiting = this.#isRead && this.#jobs.synced ? fresh.filter((id) => !shown.has(id)).length : 0;
    const held = this.#isRead && this.#isSettled && this.#order.length > 0;
    if (!held) this.#put(fresh);
    // the button takes it up; otherwise the next look does
    this.#isStale = held;
    this.#new.hidden = waiting === 0 || !held;
    setText(this.#new, `↑ ${count(waiting)} new`);
  }

  #arrange() {
    const all = this.#all;
    this.#count(all);
    this.#put(this.#matching(all));
    this.#new.hidden = true;
  }

  /** @param {JobId[]} order */
  #put(order) {
    this.#order = order;
    this.#isSettled = this.#jobs.synced || this.#before.size > 0;
    this.#rows.arrange(order);
    const { grant, status } = this.#around.hub;
    this.#empty.show({
      shown: order.length,
      all: this.#all.length,
      synced: this.#jobs.synced,
      durable: status.durable !== false,
      refusal: this.#refusal,
      tenant: grant?.tenant ?? "",
    });
  }

  /** @param {readonly Summary[]} all */
  #matching(all) {
    const { status } = this.#place;
    const query = this.#place.query.toLowerCase();
    /** @type {JobId[]} */
    const ids = [];
    for (const summary of all) {
      if (status !== "" && group(summary) !== status) continue;
      if (query !== "" && !isFound(summary, query)) continue;
      ids.push(summary.jobId);
    }
    return ids;
  }

  /** @param {readonly Summary[]} all */
  #count(all) {
    /** @type {Record<string, number>} */
    const counts = { "": all.length };
    for (const summary of all) counts[group(summary)] = (counts[group(summary)] ?? 0) + 1;
    for (const [status, { button, number }] of this.#buttons) {
      const isOn = status === this.#place.status;
      setAttribute(button, "aria-pressed", String(isOn));
      setText(number, status === "" ? "" : count(counts[status] ?? 0));
      button.hidden = !isOn && !ALWAYS.has(status) && !counts[status];
    }
    setText(this.#total, this.#jobs.synced || all.length > 0 ? count(all.length) : "");
  }
}

/**
 * The filter a job belongs to: one that is being cancelled still runs.
 * @param {Summary} summary
 */
function group(summary) {
  const state = stateOf(summary);
  return state === "cancelling" ? "running" : state;
}

/**
 * @param {Summary} summary
 * @param {string} query in small letters
 */
const isFound = ({ jobId, name }, query) =>
  String(jobId).toLowerCase().includes(query) || (name !== null && name.toLowerCase().includes(query));

/** @param {string} word */
const capital = (word) => word[0].toUpperCase() + word.slice(1);
