// The time on the page: it goes on while the connection stands, and stands still while it does not.

const SECOND = 1_000;

/**
 * @typedef {object} Hub what is asked of a `Milepost`
 * @property {{state: string, upstream: "up" | "down" | null}} status
 * @property {() => number} now
 * @property {EventTarget["addEventListener"]} addEventListener
 * @property {EventTarget["removeEventListener"]} removeEventListener
 */

/**
 * The hub's time once a second, as "tick" events; another one comes whenever it stops or goes on.
 *
 * Elapsed time and time left are claims about now. Without a hub, or with a hub that has lost NATS, nobody knows them,
 * so `now` stays what it was when that was noticed.
 */
export class Clock extends EventTarget {
  /** @type {Hub} */
  #hub;
  #standing = false;
  #last = 0;
  /** @type {ReturnType<typeof setInterval> | null} */
  #timer = null;

  /** @param {Hub} hub */
  constructor(hub) {
    super();
    this.#hub = hub;
    this.#last = hub.now();
    hub.addEventListener("status", this.#look);
    this.#look();
  }

  /** Whether time goes on. */
  get standing() {
    return this.#standing;
  }

  /** The hub's time in milliseconds, or when it was last known. It never goes back. */
  get now() {
    if (this.#standing) this.#last = Math.max(this.#last, this.#hub.now());
    return this.#last;
  }

  /** No tick follows. */
  close() {
    this.#hub.removeEventListener("status", this.#look);
    this.#stop();
  }

  #look = () => {
    const { state, upstream } = this.#hub.status;
    const standing = state === "connected" && upstream !== "down";
    if (standing === this.#standing) return;
    // the last moment that counts
    void this.now;
    this.#standing = standing;
    if (standing) this.#timer = setInterval(this.#tick, SECOND);
    else this.#stop();
    this.#tick();
  };

  #tick = () => {
    this.dispatchEvent(new Event("tick"));
  };

  #stop() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
