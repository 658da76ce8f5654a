/**
 * @typedef {object} Summary
 * @property {string | number} jobId
 * @property {string | null} name
 * @property {string} status
 * @property {number | null} run
 * @property {number | null} fraction 0..1
 * @property {string | null} message
 * @property {string | null} startedAt RFC 3339, as are the others
 * @property {string | null} endedAt
 * @property {string | null} lastEventAt
 * @property {boolean} stalled
 */

/** All jobs, without a socket: summaries in, a list newest first out. */
export class List {
  key = "*";
  id = "*";
  /** A list has no cursor, and no end. @type {null} */
  cursor = null;
  ended = false;
  /** It has come as a whole. */
  synced = false;
  /** @type {Map<string, Summary>} */
  #jobs = new Map();
  /** @type {readonly Summary[] | null} */
  #sorted = null;
  // Those told since the list began to come, until it has.
  /** @type {Set<string> | null} */
  #seen = null;

  /**
   * @param {Record<string, unknown>} message
   * @returns {Set<string | number> | null} the ids of what has changed; null when nothing has
   */
  receive(message) {
    switch (message.type) {
      case "subscribed":
        this.#seen = new Set();
        return null;
      case "listed":
        return this.#listed();
      case "job.summary":
        return this.#summary(message);
      default:
        return null;
    }
  }

  /** @param {string | number} id */
  get(id) {
    return this.#jobs.get(String(id));
  }

  get size() {
    return this.#jobs.size;
  }

  /** Newest first; another array only when something has changed. @returns {readonly Summary[]} */
  get list() {
    this.#sorted ??= Object.freeze([...this.#jobs.values()].sort(newestFirst));
    return this.#sorted;
  }

  /** What the list does not have any more is gone. */
  #listed() {
    /** @type {Set<string | number>} */
    const gone = new Set();
    for (const [key, { jobId }] of this.#jobs) {
      if (this.#seen && !this.#seen.has(key)) gone.add(jobId) && this.#jobs.delete(key);
    }
    this.#seen = null;
    this.#sorted = null;
    this.synced = true;
    return gone;
  }

  /** @param {Record<string, unknown>} message */
  #summary({ type: _, ...fields }) {
    const { jobId, status } = fields;
    if ((typeof jobId !== "string" && typeof jobId !== "number") || typeof status !== "string") return null;
    const key = String(jobId);
    this.#seen?.add(key);
    this.#jobs.set(key, /** @type {Summary} */ (fields));
    this.#sorted = null;
    return new Set([jobId]);
  }
}

/** @param {Summary} summary */
const age = ({ startedAt, lastEventAt }) => startedAt || lastEventAt || "";

/**
 * As the hub sorts them.
 * @param {Summary} one
 * @param {Summary} other
 */
function newestFirst(one, other) {
  const [a, b] = [age(one), age(other)];
  if (a !== b) return a < b ? 1 : -1;
  return String(one.jobId) < String(other.jobId) ? 1 : -1;
}
