import { FailureEvent, MilepostError } from "./errors.js";
import { Alarm } from "./alarm.js";

/** @import { Feed, Told, End } from "./feed.js" */

/** Something that a job's handle tells; its `type` is the name it was listened to by. */
export class JobEvent extends Event {
  /**
   * @param {string} type
   * @param {Told} told
   */
  constructor(type, told) {
    super(type);
    /** A payload's kind, or `snapshot` or `gap`. */
    this.kind = told.kind;
    /** The event as it was published; the job's state; the gap. @type {any} */
    this.payload = told.payload;
    /** Where it stands in the job's log, if there is one. */
    this.cursor = told.cursor;
    /** When it was stored, RFC 3339. */
    this.at = told.at;
    /** How the run ended, if this was its end. @type {End | null} */
    this.end = told.end;
    /** An end that no other run follows by itself. */
    this.final = told.final;
  }
}

/**
 * @typedef {object} Owner what a handle asks of its Milepost
 * @property {() => void} close
 * @property {() => Promise<void>} cancel
 * @property {() => MilepostError | null} refusal
 * @property {{ jobTimeout: number, queue: number }} options
 */

/**
 * One job, live: a view on what all handles of that job share.
 *
 * Its events are `snapshot`, `gap`, `event` (each live one), each event's kind, `end`, then `change`, once per message;
 * and `error`, a FailureEvent. Iterated, it gives a JobEvent for each but the last two, until the job has ended.
 * @implements {AsyncIterable<JobEvent>}
 */
export class Job extends EventTarget {
  #feed;
  #owner;
  #timeout = new Alarm();
  /** @type {Set<Queue>} */
  #queues = new Set();
  #signal;
  #closed = false;

  /**
   * @param {Feed} feed
   * @param {Owner} owner
   * @param {AbortSignal} [signal] closes the handle
   */
  constructor(feed, owner, signal) {
    super();
    this.#feed = feed;
    this.#owner = owner;
    const { jobTimeout } = owner.options;
    if (jobTimeout) this.#timeout.set(jobTimeout, () => this.#expired(jobTimeout));
    this.#signal = signal;
    signal?.addEventListener("abort", this.close);
  }

  get id() {
    return this.#feed.id;
  }

  /** The job's state: immutable, another object whenever something has changed. */
  get state() {
    return this.#feed.state.view;
  }

  /** Of the last event seen. */
  get cursor() {
    return this.#feed.cursor;
  }

  /** The last gap: events that cannot be had. */
  get gap() {
    return this.#feed.gap;
  }

  /** The hub has told the job's state at least once. */
  get synced() {
    return this.#feed.synced;
  }

  /** For good: no retry was promised. */
  get ended() {
    return this.#feed.ended;
  }

  /** Ask the job to stop. Rejects with MilepostError, in the hub's words. */
  cancel() {
    return this.#owner.cancel();
  }

  /** Hear no more of it; again does nothing. */
  close = () => {
    if (this.#closed) return;
    this.#closed = true;
    this.#timeout.stop();
    this.#signal?.removeEventListener("abort", this.close);
    for (const queue of [...this.#queues]) queue.end();
    this.#owner.close();
  };

  /** What it tells from now on, the present state first; ends with the job or the handle, throws MilepostError. */
  [Symbol.asyncIterator]() {
    const queue = new Queue(this.#owner.options.queue, () => this.#queues.delete(queue));
    this.#queues.add(queue);
    const refusal = this.#owner.refusal();
    if (this.#closed || refusal) queue.end(refusal ?? undefined);
    else if (this.synced) queue.push(this.#feed.present());
    return queue;
  }

  /**
   * What a message meant; not for callers.
   * @param {Told[]} told
   */
  tell(told) {
    for (const each of told) {
      for (const queue of [...this.#queues]) queue.push(each);
      const live = each.kind !== "snapshot" && each.kind !== "gap";
      for (const name of [live && "event", each.kind, each.end && "end"]) if (name) this.#say(new JobEvent(name, each));
    }
    this.#say(new Event("change"));
  }

  /**
   * It cannot be watched; not for callers.
   * @param {MilepostError} error
   */
  fail(error) {
    for (const queue of [...this.#queues]) queue.end(error);
    this.#say(new FailureEvent(error));
  }

  /** @param {Event} event */
  #say(event) {
    if (!this.#closed) this.dispatchEvent(event);
  }

  /** @param {number} most */
  #expired(most) {
    if (this.ended) return;
    this.fail(new MilepostError(0, "timeout", `the job has not ended within ${most / 1000} s`));
    this.close();
  }
}

/**
 * @typedef {object} Waiting
 * @property {(result: IteratorResult<JobEvent, undefined>) => void} resolve
 * @property {(error: Error) => void} reject
 */

/**
 * What an iteration has not taken yet: bounded; over the bound the oldest go, and a gap is told in their place.
 * @implements {AsyncIterableIterator<JobEvent>}
 */
class Queue {
  /** @type {Told[]} */
  #held = [];
  /** @type {Waiting[]} */
  #waiting = [];
  #ended = false;
  /** @type {MilepostError | null} */
  #error = null;

  /**
   * @param {number} most
   * @param {() => void} left
   */
  constructor(most, left) {
    this.most = most;
    this.left = left;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @param {Told} told */
  push(told) {
    if (this.#ended) return;
    this.#held.push(told);
    if (this.#held.length > this.most) this.#drop();
    if (told.final) this.end();
    this.#serve();
  }

  /** @param {MilepostError} [error] */
  end(error) {
    this.left();
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error ?? null;
    this.#serve();
  }

  /** @returns {Promise<IteratorResult<JobEvent, undefined>>} */
  next() {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#serve();
    });
  }

  /** @returns {Promise<IteratorResult<JobEvent, undefined>>} */
  async return() {
    this.#held = [];
    this.end();
    return { done: true, value: undefined };
  }

  #serve() {
    while (this.#waiting.length && (this.#held.length || this.#ended)) {
      const { resolve, reject } = /** @type {Waiting} */ (this.#waiting.shift());
      const told = this.#held.shift();
      if (told) resolve({ done: false, value: new JobEvent(told.kind, told) });
      else if (this.#error) reject(this.#error), (this.#error = null);
      else resolve({ done: true, value: undefined });
    }
  }

  #drop() {
    const gone = this.#held.splice(0, Math.ceil(this.#held.length / 2));
    const from = gone[0].cursor;
    const to = gone[gone.length - 1].cursor;
    const payload = { reason: "slow", from, to };
    this.#held.unshift({ kind: "gap", payload, cursor: null, at: null, end: null, final: false });
  }
}
