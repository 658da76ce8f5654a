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
   * @param {object} list
   * @param {number} list.shown rows
   * @param {number} list.all jobs that are known
   * @param {boolean} list.synced the hub has told all it knows
   * @param {boolean} list.durable it has a log
   * @param {string} list.refusal why there is no list
   * @param {string} list.tenant
   */
  show({ shown, all, synced, durable, refusal, tenant }) {
    setAttribute(this.element, "hidden", shown > 0);
    const isNew = all === 0 && synced && refusal === "";
    const missing = isNew ? nothing(durable) : "Asking the hub for its jobs…";
    setText(this.#words, refusal || (all > 0 ? "No job matches." : missing));
    this.#example.hidden = !isNew;
    setText(this.#example, example(tenant));
    this.#all.hidden = all === 0 || refusal !== "";
  }
}

/** @param {boolean} durable */
const nothing = (durable) =>
  durable
    ? "No job has reported yet. This reports one:"
    : "No log: what happened before you came is not known. A job appears when it reports, as this one does:";

/** @param {string} tenant */
const example = (tenant) => `from milepost_reporter import Reporter

with Reporter(tenant="${tenant}", job="first") as job:
    for row in job.track(range(1_000_000), "Count", unit="rows"):
        pass`;
