// How far something is, as a bar.

import { elementOf, setAttribute, setStyle } from "./element_of.js";
import { percent } from "./text.js";

/** Changes that follow each other faster than this, in ms, are their own movement. */
const FAST = 400;

/** A track that fills from the left; without a known fraction the track alone. */
export class Bar {
  #fill = elementOf("span", { class: "fill" });
  element = elementOf("span", { class: "bar" }, this.#fill);
  #named;
  #shown = -1;
  #changedAt = -Infinity;

  /** @param {string} [name] for a screen reader; without one the bar is left to the text beside it */
  constructor(name) {
    this.#named = name !== undefined;
    if (name === undefined) setAttribute(this.element, "aria-hidden", "true");
    else setAttribute(this.element, "aria-label", name);
  }

  /**
   * @param {number | null | undefined} fraction 0..1
   * @param {string} state the colour's
   */
  show(fraction, state) {
    const known = typeof fraction === "number" && Number.isFinite(fraction);
    const shown = known ? Math.min(1, Math.max(0, fraction)) : 0;
    setAttribute(this.element, "data-state", state);
    setAttribute(this.element, "data-known", String(known));
    this.#fillTo(Math.round(shown * 1_000) / 1_000);
    if (!this.#named) return;
    // without a value a progress bar is one of unknown length
    setAttribute(this.element, "role", "progressbar");
    setAttribute(this.element, "aria-valuemin", 0);
    setAttribute(this.element, "aria-valuemax", 100);
    setAttribute(this.element, "aria-valuenow", known ? Math.floor(shown * 100 + 1e-9) : null);
    setAttribute(this.element, "aria-valuetext", known ? percent(shown) : null);
  }

  /** @param {number} shown in thousandths, less than a pixel: what cannot be seen is not drawn */
  #fillTo(shown) {
    if (shown === this.#shown) return;
    const now = performance.now();
    setAttribute(this.element, "data-fast", now - this.#changedAt < FAST);
    setStyle(this.#fill, "transform", `scaleX(${shown})`);
    this.#shown = shown;
    this.#changedAt = now;
  }
}
