// The rows of the list that are in view, out of any number: all have the same height, so where each stands is known.

import { Bar } from "../client/view/bar.js";
import { elementOf, inwardLink, setAttribute, setStyle, setText } from "../client/view/element_of.js";
import { Pill } from "../client/view/pill.js";
import { ENDS, ago, brief, fractionSpeed, moment, percent, roughly, stateOf, timeLeft } from "../client/view/text.js";
import { write } from "./route.js";

/**
 * @typedef {import("../client/list.js").Summary} Summary
 * @typedef {{perSecond: number | null, left: number | null}} Pace
 * @typedef {string | number} JobId
 */

/** Rows drawn above and below the view, so that a turn of the wheel shows no empty place. */
const AROUND = 8;

/** Jobs in their order; only what is in view has elements, and is updated. */
export class Rows {
  /** @type {readonly JobId[]} */
  #order = [];
  /** @type {Map<JobId, Row>} */
  #drawn = new Map();
  #height = 0;
  #get;
  #pace;
  element = elementOf("div", { class: "rows", role: "list", "aria-label": "jobs" });

  /**
   * @param {(id: JobId) => Summary | undefined} get
   * @param {(id: JobId, now: number) => Pace} pace
   */
  constructor(get, pace) {
    this.#get = get;
    this.#pace = pace;
  }

  /** Pixels of one row, as the style sheet says. */
  get height() {
    return this.#height;
  }

  /** The rows' places must be asked for again: the window's size has changed. */
  measure() {
    this.#height = Number.parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 48;
  }

  /** @param {readonly JobId[]} order */
  arrange(order) {
    this.#order = order;
  }

  /**
   * Draws what is in view.
   * @param {number} now the hub's time, ms
   */
  draw(now) {
    if (this.#height === 0) this.measure();
    setStyle(this.element, "height", `${this.#order.length * this.#height}px`);
    const [from, to] = this.#inView();
    this.#keepOnly(from, to);
    /** @type {ChildNode | null} */
    let place = this.element.firstChild;
    for (let index = from; index < to; index++) {
      const row = this.#rowOf(this.#order[index]);
      if (row.element === place) place = place.nextSibling;
      else this.element.insertBefore(row.element, place);
      this.#put(row, index, now);
    }
  }

  /**
   * The focus on a row, drawn before if it is not in view.
   * @param {number} index
   * @param {number} now
   */
  focus(index, now) {
    const id = this.#order[Math.min(Math.max(index, 0), this.#order.length - 1)];
    if (id === undefined) return;
    this.#reveal(this.#order.indexOf(id));
    this.draw(now);
    this.#drawn.get(id)?.link.focus({ preventScroll: true });
  }

  /** The index of the row that has the focus; -1: none has. */
  get focused() {
    for (const [id, row] of this.#drawn) if (row.link === document.activeElement) return this.#order.indexOf(id);
    return -1;
  }

  /** @param {number} index */
  #reveal(index) {
    const top = this.element.getBoundingClientRect().top + index * this.#height;
    const above = sticky();
    if (top < above) scrollBy(0, top - above);
    else if (top + this.#height > innerHeight) scrollBy(0, top + this.#height - innerHeight);
  }

  /** @returns {[number, number]} */
  #inView() {
    const { top } = this.element.getBoundingClientRect();
    const from = Math.floor(-top / this.#height) - AROUND;
    const to = Math.ceil((innerHeight - top) / this.#height) + AROUND;
    const most = this.#order.length;
    return [Math.min(Math.max(from, 0), most), Math.min(Math.max(to, 0), most)];
  }

  /**
   * Rows out of view go, but for the one that has the focus: without its element the focus would be lost.
   * @param {number} from
   * @param {number} to
   */
  #keepOnly(from, to) {
    const kept = new Set(this.#order.slice(from, to));
    for (const [id, row] of this.#drawn) {
      if (kept.has(id)) continue;
      const index = row.link === document.activeElement ? this.#order.indexOf(id) : -1;
      if (index >= 0) {
        setStyle(row.element, "translate", `0 ${index * this.#height}px`);
        continue;
      }
      row.element.remove();
      this.#drawn.delete(id);
    }
  }

  /** @param {JobId} id */
  #rowOf(id) {
    let row = this.#drawn.get(id);
    if (row === undefined) this.#drawn.set(id, (row = new Row(id)));
    return row;
  }

  /**
   * @param {Row} row
   * @param {number} index
   * @param {number} now
   */
  #put(row, index, now) {
    setStyle(row.element, "translate", `0 ${index * this.#height}px`);
    setAttribute(row.element, "aria-posinset", index + 1);
    setAttribute(row.element, "aria-setsize", this.#order.length);
    const summary = this.#get(row.id);
    if (summary !== undefined) row.show(summary, this.#pace(row.id, now), now);
  }
}

/** Where what sticks to the window's top ends. */
const sticky = () => document.querySelector(".tools")?.getBoundingClientRect().bottom ?? 0;

/** One job. */
class Row {
  #pill = new Pill();
  #name = elementOf("span", { class: "name said cut" });
  #message = elementOf("span", { class: "message said cut quiet" });
  #id = elementOf("span", { class: "id mono quiet cut" });
  #bar = new Bar();
  #part = elementOf("span", { class: "part number" });
  #time = elementOf("span", { class: "time clock" });
  #rate = elementOf("span", { class: "rate number quiet clock" });
  #fresh = elementOf("span", { class: "fresh number quiet clock" });
  link;
  element;
  /** @type {Summary | null} */
  #last = null;

  /** @param {JobId} id */
  constructor(id) {
    this.id = id;
    this.link = inwardLink(
      write({ page: "job", job: String(id) }),
      {},
      elementOf("span", { class: "state" }, this.#pill.element),
      elementOf("span", { class: "what" }, this.#name, " ", this.#message),
      ...[this.#id, this.#bar.element, this.#part, this.#time, this.#rate, this.#fresh],
    );
    this.element = elementOf("div", { role: "listitem", class: "row" }, this.link);
  }

  /**
   * @param {Summary} summary
   * @param {Pace} pace
   * @param {number} now
   */
  show(summary, pace, now) {
    const state = stateOf(summary);
    if (summary !== this.#last) this.#draw(summary, state);
    this.#last = summary;
    const heard = moment(summary.lastEventAt);
    setText(this.#time, timeOf(summary, state, pace.left));
    setText(this.#rate, state === "running" ? fractionSpeed(pace.perSecond) : "");
    setText(this.#fresh, heard === null ? "" : ago(now - heard));
  }

  /**
   * @param {Summary} summary
   * @param {string} state
   */
  #draw(summary, state) {
    const name = brief(summary.name ?? "", 200) || `job ${summary.jobId}`;
    const message = brief(summary.message ?? "", 300);
    this.#pill.show(state);
    setText(this.#name, name);
    setText(this.#message, message);
    setText(this.#id, brief(String(summary.jobId)));
    this.link.title = [name, message].filter(Boolean).join("\n");
    this.#bar.show(summary.fraction, state);
    setText(this.#part, summary.fraction === null ? "" : percent(summary.fraction));
  }
}

/**
 * @param {Summary} summary
 * @param {string} state
 * @param {number | null} left
 */
function timeOf({ status, startedAt, endedAt }, state, left) {
  const started = moment(startedAt);
  const ended = moment(endedAt);
  if (!ENDS.has(status)) return state === "running" ? timeLeft(left) : "";
  if (started === null || ended === null) return "";
  return status === "completed" ? `took ${roughly(ended - started)}` : `after ${roughly(ended - started)}`;
}
