// Whether a job that says nothing is stalled. Only the hub knows: a job that beats without reporting is not.

import { ENDS, moment } from "../client/view/text.js";

/** @typedef {import("../client/shapes.js").JobView} JobView */

/** Silence after which the hub is asked for the first time, in ms, and how much longer it is until each next time. */
const FIRST = 30_000;
const LONGER = 1.25;

/** One job's silence. A subscription tells events only; that there are none is asked for. */
export class Silence {
  #job;
  #token;
  #onStalled;
  #signal;
  /** The last event, after which the job was found stalled. @type {string | null} */
  #stalledSince = null;
  #next = FIRST;
  /** @type {JobView | null} */
  #view = null;
  /** @type {JobView | null} */
  #shown = null;

  /**
   * @param {string} job
   * @param {() => string | null} token
   * @param {() => void} onStalled
   * @param {AbortSignal} signal nobody wants to know any more
   */
  constructor(job, token, onStalled, signal) {
    this.#job = job;
    this.#token = token;
    this.#onStalled = onStalled;
    this.#signal = signal;
  }

  /**
   * The job with what is known of its silence; the same object for the same.
   * @param {JobView} view
   * @returns {JobView}
   */
  of(view) {
    const stalled = view.stalled || (view.lastEventAt !== null && view.lastEventAt === this.#stalledSince);
    if (stalled === view.stalled) return view;
    if (view !== this.#view) [this.#view, this.#shown] = [view, Object.freeze({ ...view, stalled })];
    return /** @type {JobView} */ (this.#shown);
  }

  /**
   * Asks the hub when it is time to.
   * @param {JobView} view
   * @param {number} now the hub's time, ms
   */
  look(view, now) {
    const heard = moment(view.lastEventAt);
    if (heard === null || ENDS.has(view.status) || view.status === "queued" || view.stalled) return;
    const age = now - heard;
    if (age < FIRST) this.#next = FIRST;
    if (age < this.#next) return;
    this.#next = age * LONGER;
    void this.#ask();
  }

  async #ask() {
    try {
      const headers = { Authorization: `Bearer ${this.#token() ?? ""}` };
      const response = await fetch(`/api/jobs/${this.#job}`, { headers, signal: this.#signal });
      if (!response.ok) return;
      const { snapshot } = await response.json();
      if (snapshot.stalled !== true) return;
      this.#stalledSince = new Date(snapshot.lastEventAt).toISOString();
      this.#onStalled();
    } catch {
      // without an answer nothing is known, and the clock says that it is long ago
    }
  }
}
