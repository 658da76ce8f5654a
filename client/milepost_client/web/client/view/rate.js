/** Rate and time left of one count: derived where they are shown, never sent. Asks no clock. */

/** Milliseconds of history a rate is taken over. */
export const WINDOW = 10_000;

const SPACING = 200;
const ENOUGH = 2_000;

/** How fast a count grows, over the last `WINDOW`. */
export class Rate {
  /** @type {{ at: number, count: number }[]} */
  #seen = [];
  /** @type {number | null} */
  #startedAt;

  /**
   * @param {number | null} [startedAt] when the count began at 0, in ms: until enough was seen, the rate since then is
   *   the one told, so that who joins late need not wait for a first estimate
   */
  constructor(startedAt = null) {
    this.#startedAt = startedAt;
  }

  /**
   * A count that falls begins anew.
   * @param {number} now ms
   * @param {number} count
   */
  add(now, count) {
    const seen = this.#seen;
    if (count < (seen.at(-1)?.count ?? count)) {
      seen.length = 0;
      this.#startedAt = null;
    }
    if (seen.length > 1 && now - seen[seen.length - 2].at < SPACING) seen.pop();
    seen.push({ at: now, count });
    while (seen.length > 2 && now - seen[1].at >= WINDOW) seen.shift();
  }

  /**
   * The rate at time `now`; null before two counts are known, or when nothing was heard for `WINDOW`.
   * @param {number} now ms
   */
  perSecond(now) {
    const last = this.#seen.at(-1);
    const first = this.#first();
    if (last === undefined || first === null || now - last.at > WINDOW) return null;
    // what has fallen silent slows down instead of standing at its old rate
    const elapsed = Math.max(now, last.at) - first.at;
    return elapsed > 0 ? ((last.count - first.count) / elapsed) * 1_000 : null;
  }

  /**
   * Milliseconds until `total` at this rate; null when either is unknown or nothing moves.
   * @param {number} now ms
   * @param {number | null} total
   */
  left(now, total) {
    const rate = this.perSecond(now);
    const last = this.#seen.at(-1);
    if (!rate || rate < 0 || total === null || last === undefined) return null;
    return (Math.max(total - last.count, 0) / rate) * 1_000;
  }

  /** Where the rate is taken from: the oldest count seen, or the start while that is too young to say much. */
  #first() {
    const [first] = this.#seen;
    const last = this.#seen.at(-1);
    if (first === undefined || last === undefined) return null;
    const isYoung = last.at - first.at < ENOUGH && this.#startedAt !== null && this.#startedAt < first.at;
    if (isYoung && last.count >= 0) return { at: /** @type {number} */ (this.#startedAt), count: 0 };
    return this.#seen.length > 1 ? first : null;
  }
}
