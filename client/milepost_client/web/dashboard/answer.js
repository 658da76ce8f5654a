// What the hub said to a button: one line under the job's head, told to a screen reader too.

import { elementOf, setAttribute } from "../client/view/element_of.js";

/** Shared by the buttons of one page: the last answer stands. */
export class Answer {
  element = elementOf("p", { class: "answer", role: "status" });

  /**
   * @param {string} words
   * @param {"running" | "failed"} state the colour's
   */
  say(words, state) {
    setAttribute(this.element, "data-state", state);
    this.element.replaceChildren(words);
  }
}
