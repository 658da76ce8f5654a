/** Milliseconds from one drawing of what has changed to the next: numbers that change more often cannot be read. */
const PACE = 100;

/** At most one drawing an animation frame, however often it is asked for. */
export class Redraw {
  /** @type {() => void} */
  #draw;
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waiting;
  #drawnAt = -PACE;

  /** @param {() => void} draw */
  constructor(draw) {
    this.#draw = draw;
  }

  /** Draws in the next frame: somebody did something, and looks at what comes of it. */
  ask = () => {
    if (this.#asked === 0) this.#asked = requestAnimationFrame(this.#run);
  };

  /** Draws in the next frame, or when the last drawing is 100 ms old. */
  soon = () => {
    if (this.#asked !== 0 || this.#waiting !== undefined) return;
    const wait = this.#drawnAt + PACE - performance.now();
    if (wait <= 0) this.ask();
    else this.#waiting = setTimeout(this.ask, wait);
  };

  /** What was asked for is not drawn any more. */
  cancel() {
    cancelAnimationFrame(this.#asked);
    this.#rest();
  }

  #run = () => {
    this.#rest();
    this.#drawnAt = performance.now();
    this.#draw();
  };

  #rest() {
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#asked = 0;
  }
}
