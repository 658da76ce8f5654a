// How fast a job's nodes and the job itself get on: a rate each, fed with what is drawn.

import { Rate } from "./rate.js";
import { moment } from "./text.js";

/** @typedef {import("./steps.js").JobView} JobView */

/** Rates are read no more often than this, in ms: what changes faster cannot be read. */
const BEAT = 250;

/**
 * The beat that a time is in; what is written of a pace changes from one to the next.
 * @param {number} now ms
 */
export const beatOf = (now) => Math.floor(now / BEAT);

/** Rates of one job. Its times are those at which events were stored, so a replay shows no speed that never was. */
export class Paces {
  #run = 0;
  #job = new Rate();
  /** @type {JobView | null} */
  #view = null;
  /** @type {Map<string | number, Rate>} */
  #nodes = new Map();
  /** @type {readonly import("../shapes.js").NodeView[]} */
  #last = [];

  /** @param {JobView} view */
  take(view) {
    const at = moment(view.lastEventAt);
    this.#view = view;
    if (at === null) return;
    if (view.run !== this.#run) this.#begin(view);
    if (view.fraction !== null) this.#job.add(at, view.fraction);
    if (view.nodes === this.#last) return;
    view.nodes.forEach((node, index) => {
      if (node !== this.#last[index] && typeof node.rowCount === "number") this.#of(node).add(at, node.rowCount);
    });
    this.#last = view.nodes;
  }

  /**
   * @param {number} now the hub's time, ms
   * @returns {{perSecond: number | null, left: number | null}} of the fraction; `left` in ms
   */
  job(now) {
    const pace = read(this.#job, now, 1);
    return pace.perSecond === null && this.#view !== null ? sinceStart(this.#view, now) : pace;
  }

  /**
   * @param {import("../shapes.js").NodeView} node
   * @param {number} now the hub's time, ms
   * @returns {{perSecond: number | null, left: number | null}} of its count; `left` in ms
   */
  node(node, now) {
    const rate = this.#nodes.get(node.nodeId);
    return rate === undefined ? { perSecond: null, left: null } : read(rate, now, node.total ?? null);
  }

  /** @param {JobView} view */
  #begin({ run, startedAt }) {
    this.#run = run;
    this.#job = new Rate(moment(startedAt));
    this.#nodes.clear();
    this.#last = [];
  }

  /** @param {import("../shapes.js").NodeView} node */
  #of({ nodeId, startedAt }) {
    let rate = this.#nodes.get(nodeId);
    if (rate === undefined) this.#nodes.set(nodeId, (rate = new Rate(moment(startedAt))));
    return rate;
  }
}

/**
 * The pace of a job that speaks too seldom for a rate: what it did since it began.
 * @param {{fraction: number | null, startedAt: string | null}} job
 * @param {number} now
 * @returns {{perSecond: number | null, left: number | null}}
 */
export function sinceStart({ fraction, startedAt }, now) {
  const began = moment(startedAt);
  if (began === null || fraction === null || fraction <= 0 || now <= began) return { perSecond: null, left: null };
  const perSecond = (fraction / (now - began)) * 1_000;
  return { perSecond, left: ((1 - fraction) / perSecond) * 1_000 };
}

/**
 * @param {Rate} rate
 * @param {number} now
 * @param {number | null} total
 */
const read = (rate, now, total) => ({ perSecond: rate.perSecond(now), left: rate.left(now, total) });
