// A job's head: its state, its clocks, how fresh they are, and its bar.

import { Bar } from "./bar.js";
import { elementOf, setText } from "./element_of.js";
import { beatOf } from "./paces.js";
import { Pill } from "./pill.js";
import { ENDS, ago, brief, clockTime, fractionSpeed, lasting, moment, percent, silence } from "./text.js";
import { stateOf, timeLeft, timeOfDay } from "./text.js";

/** @typedef {import("../shapes.js").JobView} JobView */

/** One line of facts and one bar; the job's name stands where the caller wants it. */
export class Head {
  #pill = new Pill();
  #job = fact();
  #run = fact();
  #started = fact();
  #elapsed = fact("clock");
  #left = fact("clock");
  #rate = fact("clock");
  #fresh = fact("clock");
  #message = elementOf("div", { class: "said quiet cut" });
  #bar = new Bar("progress of the job");
  #percent = elementOf("span", { class: "percent" });
  element = elementOf(
    "div",
    { class: "head" },
    elementOf(
      "div",
      { class: "facts" },
      this.#pill.element,
      ...[this.#job, this.#run, this.#started, this.#elapsed, this.#left, this.#rate, this.#fresh],
    ),
    elementOf("div", { class: "progress" }, this.#bar.element, this.#percent),
    this.#message,
  );

  #beat = "";

  /**
   * @param {JobView} view
   * @param {number} now the hub's time, ms
   * @param {import("./paces.js").Paces} paces
   */
  show(view, now, paces) {
    const state = stateOf(view);
    this.#pill.show(state);
    setText(this.#job, view.jobId === null ? "" : `job ${view.jobId}`);
    setText(this.#run, view.run > 1 ? `run ${view.run}` : "");
    this.#showClocks(view, now);
    this.#showPace(paces, state, now);
    this.#bar.show(view.fraction, state);
    setText(this.#percent, view.fraction === null ? "" : percent(view.fraction));
    const message = brief(view.message ?? "", 500);
    setText(this.#message, message);
    this.#message.title = message;
    this.#message.hidden = message === "";
  }

  /**
   * @param {import("./paces.js").Paces} paces
   * @param {string} state
   * @param {number} now
   */
  #showPace(paces, state, now) {
    const beat = `${state} ${beatOf(now)}`;
    if (beat === this.#beat) return;
    this.#beat = beat;
    const { perSecond, left } = state === "running" ? paces.job(now) : { perSecond: null, left: null };
    setText(this.#left, timeLeft(left));
    setText(this.#rate, fractionSpeed(perSecond));
  }

  /**
   * @param {JobView} view
   * @param {number} now
   */
  #showClocks(view, now) {
    const started = moment(view.startedAt);
    const ended = moment(view.endedAt);
    const heard = moment(view.lastEventAt);
    setText(this.#started, beginning(view, now));
    setText(this.#elapsed, view.status === "queued" ? waiting(view, now) : span(started, ended, now));
    setText(this.#fresh, heard === null ? "" : freshness(view, now - heard));
  }
}

/** @param {string} [kind] */
const fact = (kind) => elementOf("span", kind === undefined ? {} : { class: kind });

/**
 * @param {JobView} view
 * @param {number} now
 */
function beginning(view, now) {
  const started = moment(view.startedAt);
  if (started !== null) return `started ${timeOfDay(started, now)}`;
  const queued = moment(view.queuedAt);
  if (queued === null) return "";
  return view.status === "queued" ? `since ${timeOfDay(queued, now)}` : `queued ${timeOfDay(queued, now)}`;
}

/**
 * @param {JobView} view
 * @param {number} now
 */
function waiting(view, now) {
  const queued = moment(view.queuedAt);
  return queued === null ? "" : `queued ${silence(now - queued)}`;
}

/**
 * @param {number | null} started
 * @param {number | null} ended
 * @param {number} now
 */
function span(started, ended, now) {
  if (started === null) return "";
  return ended === null ? `for ${clockTime(now - started)}` : `took ${lasting(ended - started)}`;
}

/**
 * @param {JobView} view
 * @param {number} age ms since it was heard of
 */
function freshness(view, age) {
  // it has nothing to say until its turn comes, and how long ago that was is how long it waits
  if (view.status === "queued") return "";
  if (ENDS.has(view.status)) return `ended ${ago(age)}`;
  return stateOf(view) === "stalled" ? `no event for ${silence(age)}` : `heard of ${ago(age)}`;
}
