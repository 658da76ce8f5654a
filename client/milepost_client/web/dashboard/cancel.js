// The button that asks a job to stop, the question before it, and the hub's answer.

import { elementOf, setAttribute } from "../client/view/element_of.js";

/** Shown when the token may cancel and the job can be. */
export class Cancel {
  #button = elementOf("button", { type: "button", class: "danger", hidden: true }, "Cancel");
  #sure = elementOf("button", { type: "button", class: "danger" }, "Cancel the job");
  #keep = elementOf("button", { type: "button" }, "Let it run");
  #dialog = elementOf(
    "dialog",
    { "aria-labelledby": "cancel-question" },
    elementOf("h2", { id: "cancel-question" }, "Cancel this job?"),
    elementOf("p", { class: "quiet" }, "It is asked to stop, and stops when it comes to it."),
    elementOf("div", { class: "row" }, this.#keep, this.#sure),
  );
  /** What the hub said. */
  answer = elementOf("p", { class: "answer", role: "status" });
  element = elementOf("div", { class: "cancel" }, this.#button, this.#dialog);

  /** @param {() => Promise<void>} cancel */
  constructor(cancel) {
    this.#button.addEventListener("click", () => this.#dialog.showModal());
    this.#keep.addEventListener("click", () => this.#dialog.close());
    this.#sure.addEventListener("click", () => {
      this.#dialog.close();
      void this.#ask(cancel);
    });
  }

  /** @param {boolean} possible */
  show(possible) {
    this.#button.hidden = !possible;
    if (!possible && this.#dialog.open) this.#dialog.close();
  }

  /** @param {() => Promise<void>} cancel */
  async #ask(cancel) {
    this.#button.disabled = true;
    this.#say("Asking the job to stop…", "running");
    try {
      await cancel();
      this.#say("The job has been asked to stop.", "running");
    } catch (error) {
      this.#say(`Not cancelled: ${error instanceof Error ? error.message : String(error)}`, "failed");
    } finally {
      this.#button.disabled = false;
    }
  }

  /**
   * @param {string} words
   * @param {string} state
   */
  #say(words, state) {
    setAttribute(this.answer, "data-state", state);
    this.answer.replaceChildren(words);
  }
}
