// The button that asks a job to stop, the question before it, and the hub's answer.

import { elementOf, setText } from "../client/view/element_of.js";

/** @typedef {import("./answer.js").Answer} Answer */

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
  #answer;
  #isAsking = false;
  #isCancelling = false;
  element = elementOf("div", { class: "cancel" }, this.#button, this.#dialog);

  /**
   * @param {() => Promise<void>} cancel
   * @param {Answer} answer
   */
  constructor(cancel, answer) {
    this.#answer = answer;
    this.#button.addEventListener("click", () => this.#dialog.showModal());
    this.#keep.addEventListener("click", () => this.#dialog.close());
    this.#sure.addEventListener("click", () => {
      this.#dialog.close();
      void this.#ask(cancel);
    });
  }

  /**
   * @param {boolean} possible
   * @param {boolean} cancelling it has been asked already, by whomever
   */
  show(possible, cancelling) {
    this.#isCancelling = cancelling;
    this.#button.hidden = !possible;
    this.#draw();
    if ((!possible || cancelling) && this.#dialog.open) this.#dialog.close();
  }

  #draw() {
    this.#button.disabled = this.#isAsking || this.#isCancelling;
    setText(this.#button, this.#isCancelling ? "Cancelling…" : "Cancel");
  }

  /** @param {() => Promise<void>} cancel */
  async #ask(cancel) {
    this.#isAsking = true;
    this.#draw();
    this.#answer.say("Asking the job to stop…", "running");
    try {
      await cancel();
      this.#answer.say("The job has been asked to stop.", "running");
    } catch (error) {
      this.#answer.say(`Not cancelled: ${error instanceof Error ? error.message : String(error)}`, "failed");
    } finally {
      this.#isAsking = false;
      this.#draw();
    }
  }
}
