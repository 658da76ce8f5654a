import { Idle } from "./alarm.js";
import { MilepostError } from "./errors.js";
import { isObject } from "./event.js";

/** @import { Rung, Topic, Context } from "./link.js" */

/**
 * The first rung: one socket for everything, its token in the first message.
 * @implements {Rung}
 */
export class WebSocketRung {
  #sink;
  #socket;
  #idle;
  /** What is sent before the socket is open. @type {string[] | null} */
  #early = [];
  #asked = 0;
  /** Subscriptions by the id they were asked for with. @type {Map<unknown, string>} */
  #ids = new Map();
  /** Those not answered yet: what comes before the answer was meant for an earlier one. @type {Map<string, number>} */
  #awaited = new Map();
  #words = "";

  /**
   * @param {Context} context
   * @param {string} token
   */
  constructor({ url, options, sink }, token) {
    this.#sink = sink;
    const socket = new options.WebSocket(url.replace(/^http/, "ws") + "/ws");
    this.#socket = socket;
    this.#idle = new Idle(options.idle, () => this.#down(0, "idle", "the hub has gone silent"));
    socket.onopen = () => {
      this.#early?.forEach((text) => socket.send(text));
      this.#early = null;
    };
    socket.onmessage = ({ data }) => this.#message(data);
    // What went wrong no page is told. Node's `ws` throws what nobody listens to, also when it is over.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => this.#down(code, "closed", this.#words || reason);
    this.renew(token);
  }

  /** @param {Topic} topic */
  subscribe({ key, id, cursor }) {
    const number = ++this.#asked;
    this.#ids.set(number, key);
    this.#awaited.set(key, number);
    this.#send({ action: "subscribe", jobId: id, id: number, ...(cursor === null ? {} : { after: cursor }) });
  }

  /** @param {Topic} topic */
  unsubscribe({ key, id }) {
    // nothing is awaited that will be, until it is asked for again
    this.#awaited.set(key, ++this.#asked);
    this.#send({ action: "unsubscribe", jobId: id });
  }

  /** @param {string} token */
  renew(token) {
    this.#send({ action: "auth", token, id: "auth" });
  }

  check() {
    this.#idle.check();
  }

  close() {
    const socket = this.#socket;
    this.#idle.stop();
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** @param {object} action */
  #send(action) {
    const text = JSON.stringify(action);
    if (this.#early) this.#early.push(text);
    else this.#socket.send(text);
  }

  /** @param {unknown} data */
  #message(data) {
    this.#idle.heard();
    const message = parse(data);
    if (!message) return;
    // a refused token is told before the close
    if (message.type !== "error") this.#sink.works();
    const key = keyOf(message);
    if (message.type === "error" && this.#ids.has(message.id)) this.#refused(message);
    else if (!this.#awaited.has(key)) this.#told(message);
    else if (message.type === "subscribed" && message.id === this.#awaited.get(key)) {
      this.#awaited.delete(key);
      this.#ids.delete(message.id);
      this.#told(message);
    }
  }

  /** @param {Record<string, unknown>} message */
  #told(message) {
    if (message.type === "error") this.#words = String(message.message);
    this.#sink.message(message);
  }

  /** @param {Record<string, unknown>} message */
  #refused({ id, code, message }) {
    const key = /** @type {string} */ (this.#ids.get(id));
    this.#sink.refused(key, new MilepostError(0, String(code), String(message)));
  }

  /**
   * @param {number} status
   * @param {string} code
   * @param {string} words
   */
  #down(status, code, words) {
    this.close();
    this.#sink.down(new MilepostError(status, code, words || "the connection was lost"));
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
