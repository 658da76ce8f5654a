import { Alarm } from "./alarm.js";
import { MilepostError, silence } from "./errors.js";
import { isObject } from "./event.js";
import { refusesOne, request } from "./http.js";

/** @import { Rung, Topic, Context } from "./link.js" */
/** @typedef {Record<string, unknown>} Message */

const ACTIVE = ["queued", "running", "cancelling"];

/**
 * The last rung: one request after the other for each topic.
 * @implements {Rung}
 */
export class PollingRung {
  #context;
  #token;
  /** @type {Map<string, AbortController>} */
  #stops = new Map();
  /** Those who wait for their next turn. @type {Set<() => void>} */
  #waiting = new Set();

  /**
   * @param {Context} context
   * @param {string} token
   */
  constructor(context, token) {
    this.#context = context;
    this.#token = token;
  }

  /** @param {Topic} topic */
  subscribe(topic) {
    this.unsubscribe(topic);
    const stop = new AbortController();
    this.#stops.set(topic.key, stop);
    this.#poll(topic, stop.signal);
  }

  /** @param {Topic} topic */
  unsubscribe({ key }) {
    this.#stops.get(key)?.abort();
    this.#stops.delete(key);
  }

  /** @param {string} token */
  renew(token) {
    this.#token = token;
  }

  check() {
    for (const go of [...this.#waiting]) go();
  }

  close() {
    for (const stop of this.#stops.values()) stop.abort();
    this.#stops.clear();
  }

  /**
   * @param {Topic} topic
   * @param {AbortSignal} signal
   */
  async #poll(topic, signal) {
    const { sink, options } = this.#context;
    const ask = this.#asker(signal);
    const turn = topic.key === "*" ? new ListPoll(ask, sink.message) : new JobPoll(ask, topic, sink.message);
    while (!signal.aborted) {
      try {
        const more = await turn.take();
        if (more) continue;
        if (topic.ended) return;
      } catch (error) {
        if (signal.aborted || !this.#goesOn(topic, /** @type {MilepostError} */ (error))) return;
      }
      await this.#pause(options.pollInterval, signal);
    }
  }

  /**
   * @param {Topic} topic
   * @param {MilepostError} error
   * @returns {boolean} whether to ask again at this topic's next turn
   */
  #goesOn({ key }, error) {
    const { sink } = this.#context;
    const later = error.code === "problem" && error.status === 503;
    if (later) sink.unavailable(error);
    else if (refusesOne(error)) sink.refused(key, error);
    else this.#down(error);
    return later;
  }

  /** @param {MilepostError} error */
  #down(error) {
    this.close();
    this.#context.sink.down(error);
  }

  /** @param {AbortSignal} signal */
  #asker(signal) {
    const { url, options, sink } = this.#context;
    /** @param {string} path */
    return async (path) => {
      const silent = new Alarm();
      silent.set(options.idle, () => this.#down(silence()));
      try {
        const response = await request(options, url, path, this.#token, { signal });
        const told = await response.json();
        signal.throwIfAborted();
        sink.works();
        sink.message({ type: "upstream", status: "up" });
        return /** @type {Message} */ (isObject(told) ? told : {});
      } catch (error) {
        if (!(error instanceof MilepostError)) throw new MilepostError(0, "bad_answer", "the hub's answer broke off");
        if (error.code === "problem" && error.status !== 401 && error.status !== 503) sink.works();
        throw error;
      } finally {
        silent.stop();
      }
    };
  }

  /**
   * @param {number} wait
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  #pause(wait, signal) {
    return new Promise((resolve) => {
      const alarm = new Alarm();
      const go = () => {
        alarm.stop();
        this.#waiting.delete(go);
        signal.removeEventListener("abort", go);
        resolve();
      };
      this.#waiting.add(go);
      signal.addEventListener("abort", go);
      alarm.set(wait, go);
      if (signal.aborted) go();
    });
  }
}

/** One job's turns. */
class JobPoll {
  #last = "";

  /**
   * @param {(path: string) => Promise<Message>} ask
   * @param {Topic} topic
   * @param {(message: Message) => void} tell
   */
  constructor(ask, topic, tell) {
    this.ask = ask;
    this.topic = topic;
    this.tell = tell;
  }

  /** @returns {Promise<boolean>} whether there is more at once */
  async take() {
    const { id, key, cursor } = this.topic;
    const after = cursor === null ? "" : `?after=${encodeURIComponent(cursor)}`;
    const page = await this.ask(`/${key}/events${after}`).catch((error) => {
      if (!isUnknown(error)) throw error;
      // As the WebSocket says it: nobody has heard of this job, yet.
      const snapshot = { status: "unknown", durable: true };
      return /** @type {Message} */ ({ events: [{ type: "job.snapshot", jobId: id, snapshot }] });
    });
    const events = /** @type {Message[]} */ (Array.isArray(page.events) ? page.events : []);
    const text = JSON.stringify(events);
    // A job without a cursor is told as a snapshot each time, one that nobody has heard of as that.
    if (text === this.#last) return false;
    this.#last = text;
    events.forEach(this.tell);
    return page.more === true;
  }
}

/** The list's turns: all of it, then what is new and what may have changed. */
class ListPoll {
  /** What was told of those that may change, and of the newest. @type {Map<string, string>} */
  #told = new Map();
  /** @type {Map<string, Message>} */
  #active = new Map();
  #begun = false;

  /**
   * @param {(path: string) => Promise<Message>} ask
   * @param {(message: Message) => void} tell
   */
  constructor(ask, tell) {
    this.ask = ask;
    this.tell = tell;
  }

  async take() {
    if (this.#begun) await this.#changes();
    else await this.#all();
    this.#begun = true;
    return false;
  }

  async #all() {
    this.tell({ type: "subscribed", jobId: "*" });
    for (const job of await this.#pages("")) this.#tell(job);
    this.tell({ type: "listed", jobId: "*" });
  }

  async #changes() {
    const { jobs } = await this.ask("?limit=50");
    const found = [...list(jobs), ...(await this.#pages(`status=${ACTIVE}&`))];
    for (const job of found) this.#tell(job);
    const seen = new Set(found.map(({ jobId }) => String(jobId)));
    for (const [key, job] of this.#active) if (!seen.has(key)) await this.#ended(key, job);
  }

  /**
   * @param {string} query
   * @returns {Promise<Message[]>}
   */
  async #pages(query) {
    /** @type {Message[]} */
    const all = [];
    let before = "";
    for (;;) {
      const { jobs, next } = await this.ask(`?${query}limit=500${before}`);
      all.push(...list(jobs));
      if (typeof next !== "string") return all;
      before = `&before=${encodeURIComponent(next)}`;
    }
  }

  /**
   * It was active, and is no more.
   * @param {string} key
   * @param {Message} job
   */
  async #ended(key, job) {
    const { snapshot } = await this.ask(`/${key}`).catch((error) => {
      if (!isUnknown(error)) throw error;
      return { snapshot: { ...job, status: "unknown" } };
    });
    if (!isObject(snapshot)) return;
    this.#tell(Object.fromEntries(Object.keys(job).map((name) => [name, snapshot[name] ?? null])));
  }

  /** @param {Message} job */
  #tell(job) {
    const key = String(job.jobId);
    const text = JSON.stringify(job);
    if (ACTIVE.includes(String(job.status))) this.#active.set(key, job);
    else this.#active.delete(key);
    if (this.#told.get(key) === text) return;
    this.#told.set(key, text);
    this.tell({ ...job, type: "job.summary", jobId: job.jobId });
  }
}

/** @param {MilepostError} error */
const isUnknown = ({ code, status }) => code === "problem" && status === 404;

/**
 * @param {unknown} jobs
 * @returns {Message[]}
 */
const list = (jobs) => (Array.isArray(jobs) ? jobs.filter(isObject) : []);
