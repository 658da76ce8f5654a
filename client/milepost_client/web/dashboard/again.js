// The button that has an ended job run again, as another job with the same payload.

import { submitAgain, submittedAs } from "../client/submit.js";
import { elementOf } from "../client/view/element_of.js";
import { brief } from "../client/view/text.js";

/**
 * @typedef {import("../client/milepost.js").Milepost} Milepost
 * @typedef {import("./answer.js").Answer} Answer
 */

/** How long, in ms, until a hub that could not say whether the job was submitted is asked once more; then twice that. */
const ASK_AGAIN = 5_000;

/** Reasons told of a refusal: nobody reads more of them. */
const MOST_REASONS = 5;

/** Shown for a job that was submitted to this hub: jobs that a program of somebody's own began cannot be begun here. */
export class Again {
  #hub;
  #job;
  #answer;
  #onKnown;
  #onSubmitted;
  #signal;
  #wasSubmitted = false;
  #wait = ASK_AGAIN;
  /** When the hub is to be asked whether it was, Date.now(): never twice at a time, nor once it has said so. */
  #askAt = 0;
  element = elementOf("button", { type: "button", hidden: true }, "Run again");

  /**
   * @param {Milepost} hub
   * @param {string} job
   * @param {Answer} answer
   * @param {() => void} onKnown the hub has said that it was submitted
   * @param {(job: string | number) => void} onSubmitted
   * @param {AbortSignal} signal the page was left
   */
  constructor(hub, job, answer, onKnown, onSubmitted, signal) {
    this.#hub = hub;
    this.#job = job;
    this.#answer = answer;
    this.#onKnown = onKnown;
    this.#onSubmitted = onSubmitted;
    this.#signal = signal;
    this.element.addEventListener("click", () => void this.#ask());
  }

  /** @param {boolean} possible the job has ended, and the token may submit */
  show(possible) {
    this.element.hidden = !possible || !this.#wasSubmitted;
    if (possible && Date.now() >= this.#askAt) void this.#look();
  }

  async #look() {
    this.#askAt = Infinity;
    try {
      this.#wasSubmitted = (await submittedAs(this.#hub, this.#job, { signal: this.#signal })) !== null;
      this.#onKnown();
    } catch {
      // without an answer nothing is offered, and nothing is wrong
      this.#askAt = Date.now() + this.#wait;
      this.#wait *= 2;
    }
  }

  async #ask() {
    // a button that is disabled loses the focus
    const focused = document.activeElement === this.element;
    this.element.disabled = true;
    this.#answer.say("Submitting the job again…", "running");
    try {
      // not given up with the page: what was asked for is done, and found in the list
      const { jobId } = await submitAgain(this.#hub, this.#job);
      if (!this.#signal.aborted) this.#onSubmitted(jobId);
    } catch (error) {
      this.#answer.say(`Not run again: ${words(error)}`, "failed");
    } finally {
      this.element.disabled = false;
      if (focused && document.activeElement === document.body) this.element.focus();
    }
  }
}

/**
 * What the hub says, and what of its reasons it has not said already.
 * @param {unknown} error
 */
function words(error) {
  const said = error instanceof Error ? error.message : String(error);
  const { reasons = [] } = /** @type {Partial<import("../client/milepost.js").MilepostError>} */ (error);
  const told = reasons.slice(0, MOST_REASONS).map(({ loc, msg }) => [loc.join("."), msg].filter(Boolean).join(": "));
  return [said, ...told.filter((reason) => !said.includes(reason))].map((each) => brief(each, 1_000)).join("; ");
}
