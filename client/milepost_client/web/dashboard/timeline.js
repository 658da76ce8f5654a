// When each node ran, on one scale.

import { elementOf, setAttribute, setStyle, setText } from "../client/view/element_of.js";
import { lasting, moment } from "../client/view/text.js";

/** @typedef {import("../client/view/steps.js").Step} Step */

/** The present moves on the scale in steps of this part of the whole, about a pixel, and no more often than in ms. */
const STEP = 1 / 400;
const BEAT = 250;

/** Pixels of the shortest bar; the style sheet has the same. */
const THIN = 3;

/** Rows drawn at most; the list of nodes has them all. */
const MOST = 200;

/** One bar for each node, from its first event to its end; one that runs reaches to the hub's now. */
export class Timeline {
  #list = elementOf("ol", { class: "timeline" });
  #from = elementOf("span", {});
  #to = elementOf("span", { class: "clock" });
  /** @type {Map<string | number, Row>} */
  #rows = new Map();
  /** @type {readonly (string | number)[]} */
  #ids = [];
  /** @type {readonly Step[]} */
  #steps = [];
  #until = 0;
  #whole = 0;
  #scale = elementOf("div", { class: "scale quiet", "aria-hidden": "true" }, this.#from, this.#to);
  element = elementOf("div", {}, this.#list, this.#scale);

  /**
   * @param {readonly Step[]} steps
   * @param {number} now the hub's time, ms
   * @param {number | null} end of the job
   */
  show(steps, now, end) {
    const until = end ?? now;
    if (isSame(steps, this.#steps) && Math.abs(until - this.#until) < Math.max(BEAT, this.#whole * STEP)) return;
    this.#steps = steps;
    this.#until = until;
    const shown = steps.slice(0, MOST);
    const spans = shown.map((step) => spanOf(step, until));
    const began = spans.reduce((least, span) => Math.min(least, span?.from ?? Infinity), Infinity);
    const last = spans.reduce((most, span) => Math.max(most, span?.to ?? 0), 0);
    const whole = Math.max(last - began, 1);
    this.#whole = whole;
    this.#arrange(shown);
    shown.forEach((step, index) => this.#rows.get(step.id)?.show(step, spans[index], began, whole));
    setText(this.#from, Number.isFinite(began) ? "0" : "");
    setText(this.#to, Number.isFinite(began) ? lasting(whole) : "");
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

/**
 * Whether nothing has begun or ended.
 * @param {readonly Step[]} steps
 * @param {readonly Step[]} others
 */
const isSame = (steps, others) =>
  steps.length === others.length &&
  steps.every(({ id, name, state, node }, index) => {
    const other = others[index];
    const sameNode = node?.startedAt === other.node?.startedAt && node?.endedAt === other.node?.endedAt;
    return id === other.id && name === other.name && state === other.state && sameNode;
  });

/**
 * @param {Step} step
 * @param {number} until
 * @returns {{from: number, to: number} | null}
 */
function spanOf({ node, state }, until) {
  const from = moment(node?.startedAt);
  if (from === null) return null;
  const to = moment(node?.endedAt) ?? (state === "running" ? until : moment(node?.at)) ?? from;
  return { from, to: Math.max(from, to) };
}

/** One node. */
class Row {
  #name = elementOf("span", { class: "name said cut" });
  #bar = elementOf("span", { class: "stretch" });
  #took = elementOf("span", { class: "took clock" });
  element = elementOf("li", {}, this.#name, elementOf("span", { class: "lane" }, this.#bar, this.#took));

  /**
   * @param {Step} step
   * @param {{from: number, to: number} | null} span
   * @param {number} began of the first node
   * @param {number} whole of all
   */
  show({ name, state }, span, began, whole) {
    setText(this.#name, name);
    setAttribute(this.element, "data-state", state);
    setAttribute(this.#bar, "hidden", span === null);
    setText(this.#took, span === null ? "" : lasting(span.to - span.from));
    if (span === null) return;
    const left = (span.from - began) / whole;
    const width = (span.to - span.from) / whole;
    // what took no time at the very end is seen too
    setStyle(this.#bar, "left", `min(${share(left)}, 100% - ${THIN}px)`);
    setStyle(this.#bar, "width", share(width));
    this.#placeWords(left, left + width);
  }

  /**
   * In the bar where there is room, else behind it, else in front of it.
   * @param {number} from of the bar, 0..1
   * @param {number} to
   */
  #placeWords(from, to) {
    const isInside = to - from > 0.25;
    const isBefore = !isInside && to > 0.8;
    setAttribute(this.#took, "data-inside", String(isInside));
    setStyle(this.#took, "left", isBefore ? "auto" : share(isInside ? from : to));
    setStyle(this.#took, "right", isBefore ? share(1 - from) : "auto");
  }
}

/** @param {number} part */
const share = (part) => `${(part * 100).toFixed(2)}%`;
