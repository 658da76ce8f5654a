import { FailureEvent } from "./errors.js";

/** @import { MilepostError } from "./errors.js" */
/** @import { List } from "./list.js" */

/** The list has changed. */
export class JobsEvent extends Event {
  /** @param {Set<string | number>} changed ids of jobs that came, changed or went */
  constructor(changed) {
    super("change");
    this.changed = changed;
  }
}

/** All jobs of the token, live. Its events are `change`, a JobsEvent, and `error`, a FailureEvent. */
export class Jobs extends EventTarget {
  #list;
  #left;
  #signal;
  #closed = false;

  /**
   * @param {List} list
   * @param {() => void} left
   * @param {AbortSignal} [signal] closes the handle
   */
  constructor(list, left, signal) {
    super();
    this.#list = list;
    this.#left = left;
    this.#signal = signal;
    signal?.addEventListener("abort", this.close);
  }

  /** @param {string | number} id */
  get(id) {
    return this.#list.get(id);
  }

  /** Newest first; immutable, another array whenever something has changed. */
  get list() {
    return this.#list.list;
  }

  get size() {
    return this.#list.size;
  }

  /** The list has come as a whole. */
  get synced() {
    return this.#list.synced;
  }

  /** Hear no more of it; again does nothing. */
  close = () => {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener("abort", this.close);
    this.#left();
  };

  /**
   * Not for callers.
   * @param {Set<string | number>} changed
   */
  tell(changed) {
    if (!this.#closed) this.dispatchEvent(new JobsEvent(changed));
  }

  /**
   * Not for callers.
   * @param {MilepostError} error
   */
  fail(error) {
    if (!this.#closed) this.dispatchEvent(new FailureEvent(error));
  }
}
