// What stands in place of the list while it has nothing to show.

import { elementOf, setAttribute, setText } from "../client/view/element_of.js";

/** One sentence, and what can be done about it. */
export class Empty {
  #words = elementOf("p", {});
  #example = elementOf("pre", { class: "example", tabindex: 0, "aria-label": "a program that reports a job" });
  #all = elementOf("button", { type: "button" }, "Show all jobs");
  element = elementOf("div", { class: "empty" }, this.#words, this.#example, this.#all);

  /** @param {() => void} onAll */
  constructor(onAll) {
    this.#all.addEventListener("click", onAll);
  }

  /**
   * @param {boolean} synced the hub has told all it knows
   * @param {number} shown
   * @param {number} all
   * @param {string} tenant
   */
  show(synced, shown, all, tenant) {
    setAttribute(this.element, "hidden", shown > 0);
    const nothing = all === 0;
    setText(this.#words, nothing ? (synced ? "No job has reported yet. This reports one:" : "Asking the hub for its jobs…") : "No job matches.");
    this.#example.hidden = !nothing || !synced;
    setText(this.#example, example(tenant));
    this.#all.hidden = nothing;
  }
}

/** @param {string} tenant */
const example = (tenant) => `from milepost_reporter import Reporter

with Reporter(tenant="${tenant}", job="first") as job:
    for row in job.track(range(1_000_000), "Count", unit="rows"):
        pass`;
