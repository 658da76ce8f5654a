const WINDOW = 15_000;

/** The hub's time: this machine's clock, corrected by what the hub's messages say. */
export class HubClock {
  #offset = 0;
  #best = -Infinity;
  #since = 0;

  /** Milliseconds since 1970. */
  now() {
    return Date.now() + this.#offset;
  }

  /**
   * A message has come that was made then. Those on their way for a time, or replayed, are older than the hub's now:
   * the latest of some seconds counts, at once if it is later than what was thought.
   * @param {unknown} at RFC 3339
   * @param {boolean} sure it was made just now
   */
  told(at, sure) {
    const time = Date.parse(String(at));
    if (Number.isNaN(time)) return;
    const now = Date.now();
    if (this.#best === -Infinity) this.#since = now;
    this.#best = Math.max(this.#best, time - now);
    if (sure || now - this.#since > WINDOW) {
      this.#offset = this.#best;
      this.#best = -Infinity;
    } else this.#offset = Math.max(this.#offset, this.#best);
  }
}
