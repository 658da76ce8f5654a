/** For pages that are written against callbacks: one job, told in a handful of words. */

import { Milepost } from "./milepost.js";

/** @import { FailureEvent, MilepostError, Options } from "./milepost.js" */
/** @import { Artifact } from "./shapes.js" */

/**
 * @typedef {object} Callbacks each may be left out
 * @property {(progress: { status: string, progress: number, message: string | null }) => void} [onProgress] `progress`
 *   is 0 to 100; called when one of the three is another
 * @property {(result: unknown) => void} [onCompleted]
 * @property {(error: string, details: unknown) => void} [onFailed] the job failed, or was cancelled
 * @property {(artifact: Artifact) => void} [onArtifact] each once, those from before too
 * @property {(error: MilepostError) => void} [onError] it cannot be watched, or took longer than `jobTimeout`
 * @property {() => void} [onOpen] connected, and connected again
 */

/**
 * What it gives back. `getReadyState` is as a WebSocket's: 0 connecting, 1 open, 3 closed.
 * @typedef {{ close(): void, isOpen(): boolean, getReadyState(): 0 | 1 | 3 }} Following
 */

const TWELVE_MINUTES = 720_000;

/**
 * Follow one job until its end: then, and when it cannot be watched, it closes itself.
 * @param {string | number} id
 * @param {Callbacks} callbacks
 * @param {Options & { url?: string | URL }} options the hub's address, this page's origin by default, and everything
 *   that `Milepost` takes; `jobTimeout` is 12 minutes here
 * @returns {Following}
 */
export function followJob(id, callbacks, { url, ...options }) {
  const hub = new Milepost(url, { jobTimeout: TWELVE_MINUTES, ...options });
  const follower = new Follower(hub, id, callbacks);
  return {
    close: () => follower.close(),
    isOpen: () => follower.readyState === 1,
    getReadyState: () => follower.readyState,
  };
}

class Follower {
  #hub;
  #job;
  #callbacks;
  #closed = new AbortController();
  #told = "";
  #open = false;
  /** @type {Set<string>} */
  #artifacts = new Set();

  /**
   * @param {Milepost} hub
   * @param {string | number} id
   * @param {Callbacks} callbacks
   */
  constructor(hub, id, callbacks) {
    this.#hub = hub;
    this.#callbacks = callbacks;
    const { signal } = this.#closed;
    hub.addEventListener("status", () => this.#connected(), { signal });
    this.#job = hub.job(id);
    // each its own: a callback that throws keeps none of the others from being called
    for (const tell of [() => this.#progress(), () => this.#tellOfAll(), () => this.#ended()]) {
      this.#job.addEventListener("change", tell, { signal });
    }
    this.#job.addEventListener("error", (event) => this.#failed(/** @type {FailureEvent} */ (event).error), { signal });
  }

  /** @returns {0 | 1 | 3} */
  get readyState() {
    if (this.#closed.signal.aborted) return 3;
    return this.#hub.status.state === "connected" ? 1 : 0;
  }

  close() {
    this.#closed.abort();
    this.#hub.close();
  }

  #connected() {
    const open = this.readyState === 1;
    const opened = open && !this.#open;
    this.#open = open;
    if (opened) this.#callbacks.onOpen?.();
  }

  #progress() {
    if (!this.#job.synced) return;
    const { status, message, fraction } = this.#job.state;
    const progress = Math.round((fraction ?? 0) * 1_000) / 10;
    const told = JSON.stringify([status, progress, message]);
    if (told === this.#told) return;
    this.#told = told;
    this.#callbacks.onProgress?.({ status, progress, message });
  }

  #tellOfAll() {
    for (const artifact of this.#job.state.artifacts) this.#tellOf(artifact);
  }

  /** @param {Artifact} artifact */
  #tellOf(artifact) {
    const key = JSON.stringify([artifact.name, artifact.at]);
    if (this.#artifacts.has(key)) return;
    this.#artifacts.add(key);
    this.#callbacks.onArtifact?.(artifact);
  }

  #ended() {
    if (!this.#job.ended) return;
    const { status, result, error, message } = this.#job.state;
    this.close();
    if (status === "completed") this.#callbacks.onCompleted?.(result);
    else this.#callbacks.onFailed?.(error?.message ?? message ?? status, error?.details ?? null);
  }

  /** @param {MilepostError} error */
  #failed(error) {
    this.close();
    this.#callbacks.onError?.(error);
  }
}
