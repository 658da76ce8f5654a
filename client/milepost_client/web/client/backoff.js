/** How long until the next try: exponential, with full jitter, so that clients of one hub do not come back together. */
export class Backoff {
  #tries = 0;

  /**
   * @param {number} min milliseconds, the longest first wait
   * @param {number} max milliseconds, the longest of all
   */
  constructor(min, max) {
    this.min = min;
    this.max = max;
  }

  /** Milliseconds until the next try; each call counts one that failed. */
  next() {
    // beyond 2 ** 30 nothing but the maximum is meant
    const most = Math.min(this.max, this.min * 2 ** Math.min(this.#tries++, 30));
    return Math.random() * most;
  }

  /** It worked. */
  reset() {
    this.#tries = 0;
  }
}
