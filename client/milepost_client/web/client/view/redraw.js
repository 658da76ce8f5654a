/** At most one drawing an animation frame, however often it is asked for. */
export class Redraw {
  /** @type {() => void} */
  #draw;
  #asked = 0;

  /** @param {() => void} draw */
  constructor(draw) {
    this.#draw = draw;
  }

  /** Draws in the next frame. */
  ask = () => {
    if (this.#asked === 0) this.#asked = requestAnimationFrame(this.#run);
  };

  /** What was asked for is not drawn any more. */
  cancel() {
    cancelAnimationFrame(this.#asked);
    this.#asked = 0;
  }

  #run = () => {
    this.#asked = 0;
    this.#draw();
  };
}
