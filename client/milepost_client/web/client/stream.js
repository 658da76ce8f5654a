import { Idle } from "./alarm.js";
import { MilepostError, silence } from "./errors.js";
import { refusesOne, request } from "./http.js";
import { PollingRung } from "./polling.js";
import { SseParser } from "./sse.js";
import { parse } from "./websocket.js";

/** @import { Rung, Topic, Context } from "./link.js" */

/**
 * The second rung: a stream of server-sent events for each topic, as many as a browser has connections for; polling for
 * the others.
 * @implements {Rung}
 */
export class StreamRung {
  #context;
  #token;
  #polling;
  /** @type {Map<string, { topic: Topic, stop: AbortController, idle: Idle }>} */
  #streams = new Map();
  /** Those that are polled. @type {Map<string, Topic>} */
  #others = new Map();

  /**
   * @param {Context} context
   * @param {string} token
   */
  constructor(context, token) {
    this.#context = context;
    this.#token = token;
    const sink = { ...context.sink, down: (/** @type {MilepostError} */ error) => this.#down(error) };
    this.#polling = new PollingRung({ ...context, sink }, token);
  }

  /** @param {Topic} topic */
  subscribe(topic) {
    this.#let(topic);
    if (this.#streams.size < this.#context.options.maxStreams) return void this.#stream(topic);
    this.#others.set(topic.key, topic);
    this.#polling.subscribe(topic);
  }

  /** @param {Topic} topic */
  unsubscribe(topic) {
    this.#let(topic);
    const [next] = this.#others.values();
    if (!next || this.#streams.size >= this.#context.options.maxStreams) return;
    this.#let(next);
    this.#stream(next);
  }

  /** @param {string} token */
  renew(token) {
    // Streams of the old one end with it, and come back with this.
    this.#token = token;
    this.#polling.renew(token);
  }

  check() {
    for (const { idle } of [...this.#streams.values()]) idle.check();
    this.#polling.check();
  }

  close() {
    for (const { topic } of [...this.#streams.values()]) this.#let(topic);
    this.#polling.close();
  }

  /** @param {Topic} topic */
  #let({ key }) {
    const stream = this.#streams.get(key);
    stream?.stop.abort();
    stream?.idle.stop();
    this.#streams.delete(key);
    const other = this.#others.get(key);
    if (other) this.#polling.unsubscribe(other);
    this.#others.delete(key);
  }

  /** @param {Topic} topic */
  async #stream(topic) {
    const stop = new AbortController();
    const idle = new Idle(this.#context.options.idle, () => this.#down(silence()));
    this.#streams.set(topic.key, { topic, stop, idle });
    try {
      const ended = await this.#read(topic, stop.signal, idle);
      if (stop.signal.aborted) return;
      if (ended) this.unsubscribe(topic);
      else this.#down(new MilepostError(0, "closed", "the stream has ended"));
    } catch (error) {
      if (!stop.signal.aborted) this.#failed(topic, /** @type {MilepostError} */ (error));
    }
  }

  /**
   * @param {Topic} topic
   * @param {MilepostError} error
   */
  #failed(topic, error) {
    const { sink } = this.#context;
    if (!refusesOne(error)) return this.#down(error);
    sink.works();
    this.unsubscribe(topic);
    sink.refused(topic.key, error);
  }

  /**
   * @param {Topic} topic
   * @param {AbortSignal} signal
   * @param {Idle} idle
   * @returns {Promise<boolean>} whether the job has ended; else the stream was cut
   */
  async #read({ key, cursor }, signal, idle) {
    const { url, options, sink } = this.#context;
    const after = cursor === null ? "" : `?after=${encodeURIComponent(cursor)}`;
    const response = await request(options, url, `/${key}/stream${after}`, this.#token, { signal });
    if (response.status === 204) sink.works();
    if (response.status === 204 || !response.body) return true;
    const parser = new SseParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    // The list begins anew, as the WebSocket's answer says.
    if (key === "*") sink.message({ type: "subscribed", jobId: "*" });
    for (;;) {
      const { done, value } = await reader.read().catch(lost);
      if (done || signal.aborted) return false;
      idle.heard();
      sink.works();
      for (const data of parser.push(value)) {
        const message = parse(data);
        if (message?.type === "done") return true;
        if (message) sink.message(message);
        if (signal.aborted) return false;
      }
    }
  }

  /** @param {MilepostError} error */
  #down(error) {
    this.close();
    this.#context.sink.down(error);
  }
}

/** @returns {{ done: true, value: undefined }} */
const lost = () => ({ done: true, value: undefined });
