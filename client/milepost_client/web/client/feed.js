import { isObject, kindOf } from "./event.js";
import { JobState, jsonJobId } from "./state.js";

/**
 * @typedef {{ reason: string, from: string | null, to: string | null }} Gap events that cannot be had: `retention`,
 *   `epoch`, `unavailable`; `slow` where an iterator was read too slowly
 * @typedef {"completed" | "failed" | "cancelled"} End
 * @typedef {object} Told what one message means for a job's handles
 * @property {string} kind a payload's, or `snapshot` or `gap`
 * @property {unknown} payload the event as published, the job's state, or the gap
 * @property {string | null} cursor
 * @property {string | null} at when the hub's log stored it, RFC 3339
 * @property {End | null} end
 * @property {boolean} final an end that no other run follows by itself
 */

/** @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : null);

/**
 * What a job goes by here. What can be no job's id gets a name that nothing is asked for by: in an address, or to the
 * hub, it could mean something else.
 * @param {string | number} id
 */
export const keyOfJob = (id) => (/^[\w-]{1,64}$/.test(String(id)) ? String(id) : `/${id}`);

/** One job, without its socket: the hub's messages in; state, cursor and what handles are told out. */
export class Feed {
  /** @type {string | null} */
  cursor;
  /** @type {Gap | null} */
  gap = null;
  /** The hub has told the job's state at least once. */
  synced = false;
  // A gap was told, and its snapshot has not come yet.
  #torn = false;

  /**
   * @param {string | number} id
   * @param {{ logLines: number }} options
   * @param {string} [after] a cursor to begin behind, or `start`
   */
  constructor(id, options, after) {
    this.id = jsonJobId(id);
    this.key = keyOfJob(id);
    this.cursor = after ?? null;
    this.options = options;
    this.state = new JobState(id, options);
  }

  /** Nothing follows by itself. */
  get ended() {
    return this.state.ended && !this.state.willRetry;
  }

  /**
   * @param {Record<string, unknown>} message one that is no message of the protocol is passed over
   * @param {string} now the hub's time, for events of a hub without a log
   * @returns {Told[]}
   */
  receive(message, now) {
    switch (message.type) {
      case "job.progress":
        return this.#event(message, now);
      case "job.snapshot":
        return this.#snapshot(message);
      case "job.gap":
        return [this.#lost(text(message.reason) ?? "unavailable", text(message.from), text(message.to))];
      default:
        return [];
    }
  }

  /** The present state, as a snapshot. @returns {Told} */
  present() {
    return { kind: "snapshot", payload: this.state.view, cursor: this.cursor, at: null, end: null, final: this.ended };
  }

  /**
   * @param {Record<string, unknown>} message
   * @param {string} now
   * @returns {Told[]}
   */
  #event({ payload, ...message }, now) {
    const cursor = text(message.cursor);
    this.cursor = cursor ?? this.cursor;
    const kind = kindOf(payload);
    if (!kind || !isObject(payload)) return [];
    const at = text(message.at);
    const verdict = this.state.apply(payload, at ?? now);
    this.synced = true;
    if (verdict !== "live" && verdict !== "end") return [];
    const end = verdict === "end" ? /** @type {End} */ (payload.status) : null;
    return [{ kind, payload, cursor, at, end, final: end !== null && this.ended }];
  }

  /**
   * @param {Record<string, unknown>} message
   * @returns {Told[]}
   */
  #snapshot({ snapshot, cursor }) {
    if (!isObject(snapshot)) return [];
    const known = this.state.view.status !== "unknown";
    // Of a job that was seen, "unknown" means that the hub has no log: what happened meanwhile nobody can tell.
    const blind = snapshot.status === "unknown" && snapshot.durable !== true && known;
    try {
      if (!blind) this.state = this.#read(snapshot);
    } catch {
      return [];
    }
    const told = blind && !this.#torn ? [this.#lost("unavailable", this.cursor, null)] : [];
    this.#torn = false;
    // Nobody has heard of it yet: whatever is stored when the connection comes back is new.
    const unheard = snapshot.status === "unknown" && snapshot.durable === true;
    this.cursor = text(cursor) ?? (unheard ? "start" : null);
    this.synced = true;
    return [...told, this.present()];
  }

  /** @param {Record<string, unknown>} snapshot */
  #read(snapshot) {
    if (snapshot.status === "unknown") return new JobState(this.id, this.options);
    return JobState.ofSnapshot(snapshot, this.options);
  }

  /**
   * @param {string} reason
   * @param {string | null} from
   * @param {string | null} to
   * @returns {Told}
   */
  #lost(reason, from, to) {
    this.#torn = true;
    this.gap = { reason, from, to };
    return { kind: "gap", payload: this.gap, cursor: null, at: null, end: null, final: false };
  }
}
