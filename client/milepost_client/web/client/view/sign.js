// The sign in front of each state's word, drawn: what glyphs look like depends on the machine's fonts.

import { setAttribute, svgOf } from "./element_of.js";

const RING = "M8 2.25a5.75 5.75 0 1 1 0 11.5a5.75 5.75 0 1 1 0-11.5z";
const SLASH = "M4.2 11.8l7.6-7.6";

/** A ring, and the mark in it; a state has one of them or both. */
const PATHS = Object.freeze({
  idle: [RING, ""],
  queued: [RING, ""],
  unknown: [RING, ""],
  running: [RING, "M8 2.25a5.75 5.75 0 0 1 0 11.5z"],
  cancelling: [RING, SLASH],
  cancelled: [RING, SLASH],
  stalled: [RING, ""],
  completed: ["", "M3 8.6l3.3 3.3l6.7-7.6"],
  failed: ["", "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4"],
});

/** One sign; the stylesheet gives it its state's colour, and turns the running one. */
export class Sign {
  #ring = svgOf("path", { class: "ring" });
  #mark = svgOf("path", { class: "mark" });
  #state = "";
  /** Silent for a screen reader: the word stands beside it. */
  element = svgOf("svg", { class: "sign", viewBox: "0 0 16 16", "aria-hidden": "true" }, this.#ring, this.#mark);

  /** @param {string} [state] */
  constructor(state = "idle") {
    this.show(state);
  }

  /** @param {string} state as `stateOf` gives it */
  show(state) {
    if (state === this.#state) return;
    this.#state = state;
    const [ring, mark] = PATHS[/** @type {keyof typeof PATHS} */ (state)] ?? PATHS.unknown;
    setAttribute(this.#ring, "d", ring);
    setAttribute(this.#mark, "d", mark);
    setAttribute(this.element, "data-state", state);
  }
}
