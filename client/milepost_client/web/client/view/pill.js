// A state as sign, word and colour.

import { elementOf, setAttribute, setText } from "./element_of.js";
import { Sign } from "./sign.js";

/** A job's state; what it says is `stateOf`'s word. */
export class Pill {
  #sign = new Sign();
  #word = elementOf("span", {});
  element = elementOf("span", { class: "pill" }, this.#sign.element, this.#word);

  /**
   * @param {string} state
   * @param {string} [word] another one than the state's own
   */
  show(state, word = state) {
    setAttribute(this.element, "data-state", state);
    this.#sign.show(state);
    setText(this.#word, word);
  }
}
