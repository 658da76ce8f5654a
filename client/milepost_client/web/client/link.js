import { Alarm } from "./alarm.js";
import { Backoff } from "./backoff.js";
import { MilepostError, silence } from "./errors.js";
import { isObject } from "./event.js";
import { HubClock } from "./hub_clock.js";
import { PollingRung } from "./polling.js";
import { StreamRung } from "./stream.js";
import { askToken, readToken } from "./token.js";
import { WebSocketRung } from "./websocket.js";

/** @import { Token, Grant } from "./token.js" */

/**
 * @typedef {{ key: string, id: string | number, cursor: string | null, ended: boolean }} Topic what is subscribed to: a
 *   job, or all as `*`; the cursor is that of the moment
 * @typedef {object} Sink what a rung tells; nothing once it was closed
 * @property {() => void} works something has come, whatever it is
 * @property {(message: Record<string, unknown>) => void} message
 * @property {(key: string, error: MilepostError) => void} refused this topic only
 * @property {(error: MilepostError) => void} unavailable the hub is there, and cannot answer for now
 * @property {(error: MilepostError) => void} down the last that it tells
 * @typedef {object} Rung one way to a hub, connecting from its constructor on
 * @property {(topic: Topic) => void} subscribe
 * @property {(topic: Topic) => void} unsubscribe
 * @property {(token: string) => void} renew
 * @property {() => void} check is anybody there? now, not later
 * @property {() => void} close
 * @typedef {"websocket" | "sse" | "polling"} Transport
 * @typedef {object} LinkOptions times in milliseconds
 * @property {Token} token
 * @property {readonly Transport[]} transports
 * @property {number} minBackoff
 * @property {number} maxBackoff
 * @property {number} connectTimeout
 * @property {number} idle
 * @property {number} climb
 * @property {number} pollInterval
 * @property {number} tokenNotice
 * @property {number} maxStreams
 * @property {typeof WebSocket} WebSocket
 * @property {typeof fetch} fetch
 * @typedef {{ url: string, options: LinkOptions, sink: Sink }} Context
 * @typedef {object} Status
 * @property {"connecting" | "connected" | "reconnecting" | "offline" | "refused" | "closed"} state
 * @property {Transport | null} transport
 * @property {"up" | "down" | null} upstream the hub's own link to NATS
 * @property {boolean | null} durable there is a log behind the hub
 * @property {string | null} reason in words
 * @property {number | string | null} code a close code or HTTP status, or a word
 * @property {number | null} retryAt `Date.now()` of the next try
 * @typedef {object} Host
 * @property {() => Topic[]} topics
 * @property {(message: Record<string, unknown>) => void} message
 * @property {(key: string, error: MilepostError) => void} refused
 * @property {() => void} renewed there is another token
 * @property {() => void} changed
 */

const RUNGS = { websocket: WebSocketRung, sse: StreamRung, polling: PollingRung };
const LONGEST_CLIMB = 600_000;
const NOTHING = { transport: null, upstream: null, durable: null, reason: null, code: null, retryAt: null };

/**
 * What to do about a rung that is down: stay away, try the next rung, or come back later.
 * @param {MilepostError} error
 * @param {boolean} worked it had brought something
 * @returns {"refused" | "next" | "later"}
 */
export function verdict({ status }, worked) {
  // A token that was good before may have expired: a newer one decides.
  if ((status >= 4500 && status < 5000) || (status === 401 && !worked)) return "refused";
  // a code of the hub's own: so the hub is there
  return worked || (status >= 4000 && status < 4500) ? "later" : "next";
}

/** Which rung, when to try again, is anybody there, the token's time. Knows no jobs. */
export class Link {
  /** @type {Readonly<Status>} */
  status = Object.freeze({ ...NOTHING, state: "closed" });
  /** @type {number | null} */
  heardAt = null;
  /** @type {Grant | null} */
  grant = null;
  clock = new HubClock();
  #host;
  #options;
  #url;
  #backoff;
  #retry = new Alarm();
  #slow = new Alarm();
  #climb = new Alarm();
  #renewal = new Alarm();
  #steady = new Alarm();
  #climbWait = 0;
  /** @type {Rung | null} */
  #rung = null;
  /** @type {Rung | null} */
  #trial = null;
  #worked = false;
  /** The highest rung that ever worked; a place in `transports`, as is #place. */
  #proven = Infinity;
  #place = 0;
  // Counts what was begun: an answer to an older question is none.
  #turn = 0;
  #token = "";
  #tokenAt = 0;
  /** @type {AbortController | null} */
  #listening = null;

  /**
   * @param {string} url without a slash at its end
   * @param {LinkOptions} options
   * @param {Host} host
   */
  constructor(url, options, host) {
    this.#url = url;
    this.#options = options;
    this.#host = host;
    this.#backoff = new Backoff(options.minBackoff, options.maxBackoff);
  }

  /** Connect, if nothing is under way; after a refusal only when it is `anew`. */
  start(anew = false) {
    if (!this.#listening) this.#listen();
    else if (!anew || this.#connected) return;
    this.#try(0);
  }

  /** Leave nothing behind. */
  stop() {
    this.#listening?.abort();
    this.#listening = null;
    this.#drop();
    this.#backoff.reset();
    this.#proven = Infinity;
    this.#tell({ ...NOTHING, state: "closed" });
  }

  /** @param {Topic} topic */
  subscribe(topic) {
    this.#rung?.subscribe(topic);
  }

  /** @param {Topic} topic */
  unsubscribe(topic) {
    this.#rung?.unsubscribe(topic);
  }

  /** @param {Token} token */
  setToken(token) {
    this.#options = { ...this.#options, token };
    if (this.#connected) this.#renew();
    else if (this.#listening) this.#try(0);
  }

  /** The token in use, another one if there is none. @returns {Promise<string>} */
  async token() {
    return this.#connected ? this.#token : askToken(this.#options.token, this.#options.connectTimeout);
  }

  // -- trying ---------------------------------------------------------------------------------------------------------

  /**
   * @param {number} place of the rung to try
   * @param {string} [token] when it was just asked for
   */
  async #try(place, token) {
    this.#drop();
    const turn = this.#turn;
    const first = this.status.state === "closed" || this.status.state === "connecting";
    const { reason, code } = this.status;
    this.#tell({ ...NOTHING, reason, code, state: first && !offline() ? "connecting" : this.#away() });
    try {
      token ??= await askToken(this.#options.token, this.#options.connectTimeout);
    } catch (error) {
      if (turn === this.#turn) this.#later(0, new MilepostError(0, "token", words(error)));
      return;
    }
    if (turn !== this.#turn) return;
    this.#holds(token);
    this.#open(place, token);
  }

  /**
   * @param {number} place
   * @param {string} token
   */
  #open(place, token) {
    const transport = this.#options.transports[place];
    this.#place = place;
    this.#worked = false;
    const mine = this.#turn;
    /** @param {MilepostError} error */
    const down = (error) => {
      if (mine === this.#turn) this.#down(error, token);
    };
    const sink = {
      works: () => void (mine === this.#turn && this.#works(transport)),
      message: (/** @type {Record<string, unknown>} */ message) => void (mine === this.#turn && this.#message(message)),
      refused: this.#host.refused,
      unavailable: (/** @type {MilepostError} */ error) => {
        if (this.#worked) sink.message({ type: "upstream", status: "down" });
        else down(error);
      },
      down,
    };
    this.#slow.set(this.#options.connectTimeout, () => down(silence()));
    try {
      this.#rung = new RUNGS[transport]({ url: this.#url, options: this.#options, sink }, token);
      for (const topic of this.#host.topics()) this.#rung.subscribe(topic);
    } catch (error) {
      down(new MilepostError(0, "unavailable", words(error)));
    }
  }

  /** @param {Transport} transport */
  #works(transport) {
    this.heardAt = Date.now();
    if (this.#worked) return;
    this.#worked = true;
    this.#slow.stop();
    // One that lets in and closes at once is no better than one that is away.
    this.#steady.set(this.#options.maxBackoff, () => this.#backoff.reset());
    this.#climbWait = this.#place > this.#proven ? this.#options.minBackoff : this.#options.climb;
    this.#proven = Math.min(this.#proven, this.#place);
    this.#climbLater();
    // Last, here and below: who is told may close it.
    this.#tell({ ...NOTHING, state: "connected", transport });
  }

  /**
   * @param {MilepostError} error
   * @param {string} token
   */
  #down(error, token) {
    const next = verdict(error, this.#worked);
    this.#drop();
    if (next === "refused") this.#tell({ ...NOTHING, state: "refused", reason: error.message, code: error.status });
    else if (next === "later") this.#later(this.#place, error);
    else if (this.#place + 1 < this.#options.transports.length) this.#try(this.#place + 1, token);
    else this.#later(0, error);
  }

  /**
   * @param {number} place
   * @param {MilepostError} error
   */
  #later(place, error) {
    const wait = offline() ? this.#options.maxBackoff : this.#backoff.next();
    const why = { reason: error.message, code: error.status || error.code };
    this.#retry.set(wait, () => this.#try(place));
    this.#tell({ ...NOTHING, ...why, state: this.#away(), retryAt: Date.now() + wait });
  }

  /** @returns {"offline" | "reconnecting"} */
  #away() {
    return offline() ? "offline" : "reconnecting";
  }

  #drop() {
    this.#turn++;
    for (const alarm of [this.#retry, this.#slow, this.#climb, this.#renewal, this.#steady]) alarm.stop();
    for (const rung of [this.#rung, this.#trial]) rung?.close();
    this.#rung = this.#trial = null;
  }

  // -- climbing -------------------------------------------------------------------------------------------------------

  #climbLater() {
    if (!this.#place) return;
    this.#climb.set(this.#climbWait, () => this.#climbTo(0));
    this.#climbWait = Math.min(LONGEST_CLIMB, Math.max(this.#options.climb, this.#climbWait * 2));
  }

  /**
   * Whether a higher rung works is found out beside the present one, which goes on.
   * @param {number} place
   */
  #climbTo(place) {
    this.#trial?.close();
    this.#trial = null;
    this.#slow.stop();
    // Without a log a change of rungs would lose what happens meanwhile.
    if (place === this.#place || this.status.durable === false) return this.#climbLater();
    const mine = this.#turn;
    const next = () => void (mine === this.#turn && this.#climbTo(place + 1));
    const works = () => {
      if (mine !== this.#turn) return;
      const token = this.#token;
      this.#drop();
      this.#open(place, token);
    };
    const sink = { works, message: () => {}, refused: next, unavailable: next, down: next };
    this.#slow.set(this.#options.connectTimeout, next);
    try {
      const context = { url: this.#url, options: this.#options, sink };
      this.#trial = new RUNGS[this.#options.transports[place]](context, this.#token);
      const [topic] = this.#host.topics();
      if (topic) this.#trial.subscribe(topic);
    } catch {
      next();
    }
  }

  // -- what the hub says ----------------------------------------------------------------------------------------------

  /** @param {Record<string, unknown>} message */
  #message(message) {
    const { type, status, upstream, durable, at, snapshot } = message;
    if (type === "heartbeat") this.clock.told(at, true);
    else if (type === "authenticated") this.#isLetIn(at);
    else if (type === "job.progress") this.clock.told(at, false);
    else if (type === "upstream") this.#tell({ upstream: side(status) });
    else if (typeof durable === "boolean") this.#tell({ upstream: side(upstream) ?? this.status.upstream, durable });
    else if (type === "job.snapshot" && isObject(snapshot)) this.#tell({ durable: snapshot.durable === true });
    else if (type === "token.expiring") this.#plan(true);
    else if (type === "error" && message.id === "auth") this.#notRenewed(message.message, String(message.code));
    this.#host.message(message);
  }

  // -- the token ------------------------------------------------------------------------------------------------------

  /** @param {string} token */
  #holds(token) {
    const renewed = token !== this.#token;
    this.#token = token;
    this.grant = readToken(token);
    this.#isLetIn(null);
    if (renewed) this.#host.renewed();
  }

  /** @param {unknown} at by the hub's clock */
  #isLetIn(at) {
    this.clock.told(at, true);
    this.#tokenAt = this.clock.now();
    this.#plan(false);
  }

  /**
   * Ask for another token ahead of this one's end, yet not before half of the life it came with.
   * @param {boolean} told the hub says that it is time
   */
  #plan(told) {
    if (!this.grant || typeof this.#options.token === "string") return;
    const { expiresAt } = this.grant;
    const early = told ? 0 : expiresAt - this.#options.tokenNotice;
    const at = Math.max(early, (expiresAt + this.#tokenAt) / 2);
    if (this.#tokenAt < expiresAt) this.#renewal.set(Math.max(0, at - this.clock.now()), () => this.#renew());
  }

  async #renew() {
    const turn = this.#turn;
    const source = this.#options.token;
    const over = () => turn !== this.#turn || source !== this.#options.token;
    try {
      const token = await askToken(source, this.#options.connectTimeout);
      if (over()) return;
      // A connection belongs to one tenant.
      if (this.grant?.tenant !== readToken(token)?.tenant) return void this.#try(0, token);
      this.#rung?.renew(token);
      this.#holds(token);
      this.#backoff.reset();
      this.#tell({ reason: null, code: null });
    } catch (error) {
      if (!over()) this.#notRenewed(words(error), "token");
    }
  }

  /**
   * The old token counts until its end; until then try again.
   * @param {unknown} reason
   * @param {string} code
   */
  #notRenewed(reason, code) {
    if (typeof this.#options.token !== "string") this.#renewal.set(this.#backoff.next(), () => this.#renew());
    this.#tell({ reason: String(reason), code });
  }

  // -- the world ------------------------------------------------------------------------------------------------------

  #listen() {
    const { window, document } = globalThis;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    window?.addEventListener("online", () => this.#wake(true), { signal });
    window?.addEventListener("offline", () => this.status.retryAt && this.#tell({ state: "offline" }), { signal });
    window?.addEventListener("pageshow", () => this.#wake(false), { signal });
    document?.addEventListener("visibilitychange", () => document.hidden || this.#wake(false), { signal });
  }

  get #connected() {
    return this.status.state === "connected";
  }

  /** @param {boolean} anew an attempt under way was begun without a network */
  #wake(anew) {
    if (this.#connected) this.#rung?.check();
    else if (this.status.state !== "refused" && (anew || this.status.retryAt !== null)) this.#try(0);
  }

  /** @param {Partial<Status>} change */
  #tell(change) {
    const status = Object.freeze({ ...this.status, ...change });
    const names = /** @type {(keyof Status)[]} */ (Object.keys(status));
    if (names.every((name) => status[name] === this.status[name])) return;
    this.status = status;
    this.#host.changed();
  }
}

/** The browser itself says so; Node's navigator says nothing. */
const offline = () => globalThis.navigator?.onLine === false;

/** @param {unknown} value */
const side = (value) => (value === "up" || value === "down" ? value : null);

/** @param {unknown} error */
const words = (error) => (error instanceof Error ? error.message : String(error));
