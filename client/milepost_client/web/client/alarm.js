const SLICE = 5_000;

/** One timer that keeps time across a machine's sleep: one clock stands still then, the other can be set. */
export class Alarm {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * Ring once, so many milliseconds from now, instead of whatever was set before.
   * @param {number} wait
   * @param {() => void} ring
   */
  set(wait, ring) {
    this.stop();
    const passed = stopwatch();
    const sleep = () => {
      this.#timer = setTimeout(look, Math.min(SLICE, Math.max(0, wait - passed())));
    };
    const look = () => (passed() >= wait ? ring() : sleep());
    sleep();
  }

  /** Do not ring. */
  stop() {
    clearTimeout(this.#timer);
  }
}

/** Rings when nothing was heard for so long, again each time. */
export class Idle {
  #alarm = new Alarm();
  #silence = stopwatch();

  /**
   * @param {number} most milliseconds
   * @param {() => void} dead
   */
  constructor(most, dead) {
    this.most = most;
    this.dead = dead;
    this.check();
  }

  /** Something has come. */
  heard() {
    this.#silence = stopwatch();
  }

  /** Look now. */
  check() {
    const left = this.most - this.#silence();
    if (left <= 0) this.dead();
    else this.#alarm.set(left, () => this.check());
  }

  /** Listen no more. */
  stop() {
    this.#alarm.stop();
  }
}

/** @returns {() => number} how many milliseconds have passed since */
function stopwatch() {
  const wall = Date.now();
  const steady = performance.now();
  return () => Math.max(Date.now() - wall, performance.now() - steady);
}
