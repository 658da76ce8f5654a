// A job's nodes as a list: what each has done, how fast it goes on, and how long it will take.

import { Bar } from "./bar.js";
import { elementOf, setAttribute, setText } from "./element_of.js";
import { beatOf } from "./paces.js";
import { Sign } from "./sign.js";
import { isSame } from "./steps.js";
import { amount, brief, percent, speed, timeLeft } from "./text.js";

/**
 * @typedef {import("./steps.js").Step} Step
 * @typedef {import("./paces.js").Paces} Paces
 */

/** Rows drawn before somebody asks for the others. */
const MOST = 200;

/** The rows; only those that changed, and those that run, are touched. */
export class Nodes {
  #list = elementOf("ol", { class: "nodes" });
  #more = elementOf("button", { type: "button", class: "more", hidden: true });
  #all = false;
  /** @type {Map<string | number, Row>} */
  #rows = new Map();
  /** @type {readonly (string | number)[]} */
  #ids = [];
  element = elementOf("div", { class: "wide" }, this.#list, this.#more);

  constructor() {
    this.#more.addEventListener("click", () => {
      this.#all = true;
      this.#more.hidden = true;
      this.element.dispatchEvent(new Event("more"));
    });
  }

  /**
   * @param {readonly Step[]} steps
   * @param {Paces} paces
   * @param {number} now the hub's time, ms
   */
  show(steps, paces, now) {
    const shown = this.#all ? steps : steps.slice(0, MOST);
    this.#arrange(shown);
    for (const step of shown) this.#rows.get(step.id)?.show(step, paces, now);
    this.#more.hidden = shown.length === steps.length;
    setText(this.#more, this.#more.hidden ? "" : `show the other ${steps.length - shown.length}`);
  }

  /**
   * A row for each step, in their order.
   * @param {readonly Step[]} steps
   */
  #arrange(steps) {
    if (steps.length === this.#rows.size && steps.every(({ id }, index) => id === this.#ids[index])) return;
    this.#ids = steps.map(({ id }) => id);
    this.#rows = new Map(this.#ids.map((id) => [id, this.#rows.get(id) ?? new Row()]));
    this.#list.replaceChildren(...[...this.#rows.values()].map(({ element }) => element));
  }
}

/** One node. */
class Row {
  #sign = new Sign();
  #state = elementOf("span", { class: "unseen" });
  #name = elementOf("span", { class: "name said cut" });
  #amount = elementOf("span", { class: "amount said cut" });
  #bar = new Bar();
  #part = elementOf("span", { class: "part number" });
  #rate = elementOf("span", { class: "rate number quiet clock" });
  #left = elementOf("span", { class: "left number quiet clock" });
  element = elementOf(
    "li",
    {},
    this.#sign.element,
    elementOf("span", { class: "cut" }, this.#name, this.#state),
    ...[this.#amount, this.#bar.element, this.#part, this.#rate, this.#left],
  );
  /** @type {Step | null} */
  #last = null;
  #beat = -1;

  /**
   * @param {Step} step
   * @param {Paces} paces
   * @param {number} now
   */
  show(step, paces, now) {
    const last = this.#last;
    if (last === null || !isSame(last, step)) this.#draw(step);
    this.#last = step;
    const beat = beatOf(now);
    if (beat === this.#beat && last?.state === step.state) return;
    this.#beat = beat;
    const running = step.state === "running" && step.node !== null;
    const pace = running && step.node !== null ? paces.node(step.node, now) : { perSecond: null, left: null };
    setText(this.#rate, speed(pace.perSecond));
    setText(this.#left, timeLeft(pace.left));
  }

  /** @param {Step} step */
  #draw({ name, state, node }) {
    setAttribute(this.element, "data-state", state);
    this.#sign.show(state);
    setText(this.#state, `, ${state}`);
    setText(this.#name, name);
    const told = node === null ? "" : said(node);
    setText(this.#amount, told);
    this.element.title = [name, told, brief(node?.message ?? "")].filter(Boolean).join("\n");
    setAttribute(this.#amount, "class", node?.error ? "amount said cut trouble" : "amount said cut");
    const fraction = fractionOf(state, node);
    this.#bar.show(fraction, state);
    setText(this.#part, fraction === null ? "" : percent(fraction));
  }
}

/**
 * How far a node is, 0..1; one that is completed is done whatever it counted.
 * @param {string} state
 * @param {import("../shapes.js").NodeView | null} node
 * @returns {number | null}
 */
export function fractionOf(state, node) {
  if (state === "completed") return 1;
  return node?.fraction ?? null;
}

/** @param {import("../shapes.js").NodeView} node */
function said(node) {
  if (node.error?.message) return brief(node.error.message);
  return amount(node) || brief(node.message ?? "");
}
