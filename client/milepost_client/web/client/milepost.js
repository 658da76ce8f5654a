import { Alarm } from "./alarm.js";
import { MilepostError } from "./errors.js";
import { Feed, keyOfJob } from "./feed.js";
import { request } from "./http.js";
import { Job } from "./job.js";
import { Jobs } from "./jobs.js";
import { Link } from "./link.js";
import { List } from "./list.js";
import { keyOf } from "./websocket.js";

export { FailureEvent, MilepostError } from "./errors.js";
export { Job, JobEvent } from "./job.js";
export { Jobs, JobsEvent } from "./jobs.js";

/** @import { LinkOptions } from "./link.js" */
/** @import { RequestOptions } from "./http.js" */
/** @typedef {import("./link.js").Status} Status */
/** @typedef {import("./token.js").Grant} Grant */
/** @typedef {import("./token.js").Token} Token */
/** @typedef {import("./feed.js").Gap} Gap */
/** @typedef {import("./list.js").Summary} Summary */
/** @typedef {import("./shapes.js").JobView} JobView */
/** @typedef {import("./shapes.js").NodeView} NodeView */

/**
 * Times in milliseconds.
 * @typedef {object} MoreOptions
 * @property {number} linger how long what nobody holds any more stays subscribed, 5 s
 * @property {number} jobTimeout how long a job may take, 0 for ever
 * @property {number} logLines of a job's state, 200
 * @property {number} queue events that an iterator may be behind, 10,000
 * @typedef {{ token: Token } & Partial<LinkOptions & MoreOptions>} Options token: a JWT, or a function that gives one
 */

const DEFAULTS = {
  transports: /** @type {const} */ (["websocket", "sse", "polling"]),
  minBackoff: 1_000,
  maxBackoff: 15_000,
  connectTimeout: 10_000,
  idle: 25_000,
  climb: 30_000,
  pollInterval: 2_000,
  tokenNotice: 60_000,
  linger: 5_000,
  jobTimeout: 0,
  logLines: 200,
  maxStreams: 4,
  queue: 10_000,
};

/** What all handles of one topic share. */
class Share {
  /** @type {Set<Job | Jobs>} */
  handles = new Set();
  linger = new Alarm();
  /** Why it cannot be watched. @type {MilepostError | null} */
  refused = null;

  /** @param {Feed | List} topic */
  constructor(topic) {
    this.topic = topic;
    if (topic.key[0] === "/") this.refused = new MilepostError(0, "bad_id", "a job's id is 1 to 64 of A-Z a-z 0-9 _ -");
  }
}

/** A hub: its jobs over one connection, which is there while somebody holds a handle. Its event is `status`. */
export class Milepost extends EventTarget {
  #url;
  #options;
  #link;
  /** @type {Map<string, Share>} */
  #shares = new Map();

  /**
   * @param {string | URL | undefined} url the hub's, this page's origin when there is none
   * @param {Options} options
   */
  constructor(url, options) {
    super();
    this.#url = String(url ?? globalThis.location?.origin).replace(/\/+$/, "");
    const { WebSocket, fetch } = globalThis;
    this.#options = { ...DEFAULTS, WebSocket, fetch: fetch.bind(globalThis), ...options };
    this.#link = new Link(this.#url, this.#options, {
      topics: () => [...this.#shares.values()].filter(({ refused }) => !refused).map(({ topic }) => topic),
      message: (message) => this.#message(message),
      refused: (key, error) => this.#refused(key, error),
      renewed: () => this.#askAgain(),
      changed: () => this.#changed(),
    });
  }

  /** The connection's: immutable, another object whenever something has changed. @returns {Readonly<Status>} */
  get status() {
    return this.#link.status;
  }

  /** `Date.now()` of the last message of any kind. */
  get heardAt() {
    return this.#link.heardAt;
  }

  /** What the token says of itself. @returns {Grant | null} */
  get grant() {
    return this.#link.grant;
  }

  /** The hub's time in milliseconds: this machine's clock, corrected by what the hub's messages say. */
  now() {
    return this.#link.clock.now();
  }

  /**
   * @param {string | number} id
   * @param {{ signal?: AbortSignal, after?: string }} [options] signal: closes the handle; after: a cursor to begin
   *   behind, or `start`, for the job's first handle
   * @returns {Job}
   */
  job(id, { signal, after } = {}) {
    const share = this.#share(keyOfJob(id), () => new Feed(id, this.#options, after), after !== undefined);
    const owner = {
      options: this.#options,
      close: () => this.#leave(share, job),
      cancel: async () => {
        if (share.refused?.code === "bad_id") throw share.refused;
        await this.request(`/${share.topic.key}`, { method: "DELETE" });
      },
      refusal: () => share.refused ?? this.#refusal(),
    };
    const job = new Job(/** @type {Feed} */ (share.topic), owner, signal);
    this.#enter(share, job, signal);
    return job;
  }

  /**
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Jobs}
   */
  jobs({ signal } = {}) {
    const share = this.#share("*", () => new List(), false);
    const jobs = new Jobs(/** @type {List} */ (share.topic), () => this.#leave(share, jobs), signal);
    this.#enter(share, jobs, signal);
    return jobs;
  }

  /** Try now, also after a refusal. */
  connect() {
    this.#askAgain();
    if (this.#shares.size) this.#link.start(true);
  }

  /**
   * Another one, told to the hub in place.
   * @param {Token} token
   */
  setToken(token) {
    this.#link.setToken(token);
  }

  /**
   * One request to the hub's HTTP API with the token in use. Rejects with MilepostError.
   * @param {string} path what comes after `/api/jobs`
   * @param {RequestOptions} [options] without a `signal` the hub has `idle` to answer
   */
  async request(path, options) {
    const signal = AbortSignal.timeout(this.#options.idle);
    return request(this.#options, this.#url, path, await this.#link.token(), { signal, ...options });
  }

  /** Close every handle, and the connection at once. A later handle connects again. */
  close() {
    for (const share of this.#shares.values()) {
      for (const handle of [...share.handles]) handle.close();
      this.#forget(share);
    }
  }

  // -- what handles share ---------------------------------------------------------------------------------------------

  /**
   * @param {string} key
   * @param {() => Feed | List} make
   * @param {boolean} anew if nobody holds it
   */
  #share(key, make, anew) {
    const known = this.#shares.get(key);
    if (known && !(anew && !known.handles.size)) return known;
    known?.linger.stop();
    const share = new Share(make());
    this.#shares.set(key, share);
    if (share.refused) return share;
    this.#link.start();
    this.#link.subscribe(share.topic);
    return share;
  }

  /**
   * @param {Share} share
   * @param {Job | Jobs} handle
   * @param {AbortSignal} [signal]
   */
  #enter(share, handle, signal) {
    share.linger.stop();
    share.handles.add(handle);
    if (share.refused) this.#ask(share);
    const error = share.refused ?? this.#refusal();
    if (error) queueMicrotask(() => handle.fail(error));
    if (signal?.aborted) handle.close();
  }

  /**
   * @param {Share} share
   * @param {Job | Jobs} handle
   */
  #leave(share, handle) {
    share.handles.delete(handle);
    if (!share.handles.size) share.linger.set(this.#options.linger, () => this.#forget(share));
  }

  /** @param {Share} share */
  #forget(share) {
    share.linger.stop();
    this.#shares.delete(share.topic.key);
    if (!this.#shares.size) return this.#link.stop();
    if (share.refused) return;
    this.#link.unsubscribe(share.topic);
    const next = [...this.#shares.values()].find(({ refused }) => refused?.code === "too_many_subscriptions");
    if (next) this.#ask(next);
  }

  /** @param {Share} share */
  #ask(share) {
    if (share.refused?.code === "bad_id") return;
    share.refused = null;
    this.#link.subscribe(share.topic);
  }

  #askAgain() {
    for (const share of this.#shares.values()) if (share.refused) this.#ask(share);
  }

  // -- what the link says ---------------------------------------------------------------------------------------------

  /** @param {Record<string, unknown>} message */
  #message(message) {
    const share = this.#shares.get(keyOf(message));
    if (share?.topic instanceof List) {
      const changed = share.topic.receive(message);
      if (changed) for (const jobs of [...share.handles]) /** @type {Jobs} */ (jobs).tell(changed);
    } else if (share) {
      const told = share.topic.receive(message, new Date(this.now()).toISOString());
      if (told.length) for (const job of [...share.handles]) /** @type {Job} */ (job).tell(told);
    }
  }

  /**
   * @param {string} key
   * @param {MilepostError} error
   */
  #refused(key, error) {
    const share = this.#shares.get(key);
    if (!share) return;
    share.refused = error;
    for (const handle of [...share.handles]) handle.fail(error);
  }

  #changed() {
    const error = this.#refusal();
    if (error) for (const { handles } of this.#shares.values()) for (const handle of [...handles]) handle.fail(error);
    this.dispatchEvent(new Event("status"));
  }

  /** Why the hub lets nobody in with this token. */
  #refusal() {
    const { state, code, reason } = this.status;
    return state === "refused" ? new MilepostError(Number(code), "refused", reason ?? "") : null;
  }
}
