// A job, the list of jobs or the connection as one value that frameworks draw: at most once a frame, however many
// events there are. The handle is there while somebody listens.

import { JobState } from "./state.js";

/** @import { FailureEvent, Gap, Job, Milepost, MilepostError, Summary } from "./milepost.js" */
/** @import { JobView } from "./shapes.js" */

/**
 * @typedef {object} JobValue
 * @property {Readonly<JobView>} state
 * @property {boolean} synced the hub has told the job's state at least once
 * @property {boolean} ended for good: no retry was promised
 * @property {Gap | null} gap the last one: events that cannot be had
 * @property {MilepostError | null} error why it cannot be watched
 * @property {() => Promise<void>} cancel ask the job to stop; rejects with MilepostError
 */

/**
 * @typedef {object} JobsValue
 * @property {readonly Summary[]} list newest first
 * @property {boolean} synced the list has come as a whole
 * @property {MilepostError | null} error why it cannot be watched
 */

/** @type {(draw: () => void) => unknown} */
const frame = globalThis.requestAnimationFrame?.bind(globalThis) ?? ((draw) => setTimeout(draw, 16));

/**
 * @template {EventTarget & { close(): void }} Handle
 * @template Value
 */
export class Watched {
  #open;
  #describe;
  #value;
  /** @type {MilepostError | null} */
  #error = null;
  /** @type {Handle | null} */
  #handle = null;
  /** @type {Set<() => void>} */
  #listeners = new Set();
  #asked = false;

  /**
   * @param {() => Handle} open
   * @param {(handle: Handle | null, error: MilepostError | null) => Value} describe
   */
  constructor(open, describe) {
    this.#open = open;
    this.#describe = describe;
    this.#value = describe(null, null);
  }

  /** The value as it was last told: the same object until another one is. */
  read = () => this.#value;

  /**
   * @param {() => void} listener called when there is another value
   * @returns {() => void} ends it
   */
  subscribe = (listener) => {
    // one function may listen twice
    const own = () => listener();
    this.#listeners.add(own);
    if (this.#handle === null) this.#begin();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#end();
    };
  };

  #begin() {
    const handle = this.#open();
    this.#handle = handle;
    handle.addEventListener("change", this.#changed);
    handle.addEventListener("error", this.#failed);
    this.#ask();
  }

  #end() {
    this.#handle?.removeEventListener("change", this.#changed);
    this.#handle?.removeEventListener("error", this.#failed);
    this.#handle?.close();
    this.#handle = null;
  }

  #changed = () => {
    this.#error = null;
    this.#ask();
  };

  /** @param {Event} event */
  #failed = (event) => {
    this.#error = /** @type {FailureEvent} */ (event).error;
    this.#ask();
  };

  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    frame(() => {
      this.#asked = false;
      if (this.#handle === null) return;
      this.#value = this.#describe(this.#handle, this.#error);
      for (const listener of [...this.#listeners]) listener();
    });
  }
}

/**
 * @param {Milepost} hub
 * @param {string | number} id
 * @returns {Watched<Job, Readonly<JobValue>>}
 */
export function watchJob(hub, id) {
  const unknown = new JobState(id).view;
  const cancel = () => {
    const job = hub.job(id);
    return job.cancel().finally(job.close);
  };
  return new Watched(
    () => hub.job(id),
    (job, error) =>
      Object.freeze({
        state: job?.state ?? unknown,
        synced: job?.synced ?? false,
        ended: job?.ended ?? false,
        gap: job?.gap ?? null,
        error,
        cancel,
      }),
  );
}

/**
 * @param {Milepost} hub
 * @returns {Watched<import("./milepost.js").Jobs, Readonly<JobsValue>>}
 */
export function watchJobs(hub) {
  return new Watched(
    () => hub.jobs(),
    (jobs, error) => Object.freeze({ list: jobs?.list ?? [], synced: jobs?.synced ?? false, error }),
  );
}
