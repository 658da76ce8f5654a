import { Alarm, Idle } from "./alarm.js";
import { MilepostError, silence } from "./errors.js";
import { isObject } from "./event.js";

/** @import { Rung, Topic, Context } from "./link.js" */

const OPEN = 1;
// Half of what a hub allows: ten messages a second, ten seconds' worth at once.
const EACH = 100;
const SAVED = 10_000;

/**
 * The first rung: one socket for everything, its token in the first message.
 * @implements {Rung}
 */
export class WebSocketRung {
  #sink;
  #token;
  #socket;
  #idle;
  #asked = 0;
  /** What is to be asked for each topic: the last wish counts. @type {Map<string, object>} */
  #wishes = new Map();
  /** When the allowance was used up to, by `performance.now()`: what lies ahead must be waited for. */
  #due = -Infinity;
  #pause = new Alarm();
  /** Those not answered yet: what comes before the answer was meant for an earlier one. @type {Map<string, number>} */
  #awaited = new Map();
  #words = "";

  /**
   * @param {Context} context
   * @param {string} token
   */
  constructor({ url, options, sink }, token) {
    this.#sink = sink;
    this.#token = token;
    const socket = new options.WebSocket(url.replace(/^http/, "ws") + "/ws");
    this.#socket = socket;
    this.#idle = new Idle(options.idle, () => this.#down(silence()));
    socket.onopen = () => {
      this.renew(this.#token);
      this.#ask();
    };
    socket.onmessage = ({ data }) => this.#message(data);
    // What went wrong no page is told. Node's `ws` throws what nobody listens to, also when it is over.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) =>
      this.#down(new MilepostError(code, "closed", this.#words || reason || "the connection was lost"));
  }

  /** @param {Topic} topic */
  subscribe({ key, id, cursor }) {
    this.#wish(key, { action: "subscribe", jobId: id, after: cursor });
  }

  /** @param {Topic} topic */
  unsubscribe({ key, id }) {
    this.#wish(key, { action: "unsubscribe", jobId: id });
  }

  /** @param {string} token */
  renew(token) {
    this.#token = token;
    this.#send({ action: "auth", token, id: "auth" });
  }

  check() {
    this.#idle.check();
  }

  close() {
    const socket = this.#socket;
    this.#idle.stop();
    this.#pause.stop();
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /**
   * @param {string} key
   * @param {object} action
   */
  #wish(key, action) {
    const id = ++this.#asked;
    this.#awaited.set(key, id);
    this.#wishes.set(key, { ...action, id });
    this.#ask();
  }

  /** As fast as the hub allows. */
  #ask() {
    for (const [key, wish] of this.#wishes) {
      const now = performance.now();
      if (this.#due > now) return this.#pause.set(this.#due - now, () => this.#ask());
      if (!this.#send(wish)) return;
      this.#due = Math.max(this.#due, now - SAVED) + EACH;
      this.#wishes.delete(key);
    }
  }

  /**
   * @param {object} action
   * @returns {boolean} whether the socket is open
   */
  #send(action) {
    const open = this.#socket.readyState === OPEN;
    if (open) this.#socket.send(JSON.stringify(action));
    return open;
  }

  /** @param {unknown} data */
  #message(data) {
    this.#idle.heard();
    const message = parse(data);
    if (!message) return;
    const { type, id, jobId } = message;
    const key = keyOf(message);
    const error = type === "error";
    this.#words = error ? String(message.message) : "";
    // a refused token is told before the close
    if (!error) this.#sink.works();
    if (id === this.#awaited.get(key) || (error && id === undefined)) this.#awaited.delete(key);
    if (this.#awaited.has(key)) return;
    if (!error || jobId === undefined) this.#sink.message(message);
    else this.#sink.refused(key, new MilepostError(0, String(message.code), this.#words));
  }

  /** @param {MilepostError} error */
  #down(error) {
    this.close();
    this.#sink.down(error);
  }
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown> | null} null for what is no message
 */
export function parse(data) {
  try {
    const message = JSON.parse(String(data));
    return isObject(message) ? message : null;
  } catch {
    return null;
  }
}

/**
 * Whose it is: a summary names its job, and is the list's.
 * @param {Record<string, unknown>} message
 */
export const keyOf = ({ type, jobId }) => (type === "job.summary" ? "*" : String(jobId));
