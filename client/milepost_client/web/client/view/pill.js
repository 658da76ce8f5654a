// A state as sign, word and colour.

import { elementOf, setAttribute, setText } from "./element_of.js";
import { Sign } from "./sign.js";

/** A job's state; what it says is `stateOf`'s word. */
export class Pill {
  #sign = new Sign();
  #word = elementOf("span", {});
  element = elementOf("span", { class: "pill" }, this.#sign.element, this.#word);

  /** @param {string} state */
  show(state) {
    setAttribute(this.element, "data-state", state);
    this.#sign.show(state);
    setText(this.#word, state);
  }
}
