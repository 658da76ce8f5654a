// A plan as a graph: nodes in layers with their counts on them, edges between. A list for a screen reader.

import { Bar } from "./bar.js";
import { elementOf, setAttribute, setStyle, setText, svgOf } from "./element_of.js";
import { layout } from "./layout.js";
import { fractionOf } from "./nodes.js";
import { beatOf } from "./paces.js";
import { Sign } from "./sign.js";
import { isSame } from "./steps.js";
import { amount, brief, percent, speed } from "./text.js";

/**
 * @typedef {import("./steps.js").Step} Step
 * @typedef {import("./steps.js").NodeId} NodeId
 * @typedef {import("./paces.js").Paces} Paces
 * @typedef {import("../shapes.js").Plan} Plan
 * @typedef {import("./layout.js").Link} Link
 * @typedef {{x: number, y: number}} Point
 */

/** Pixels; the style sheet has the same. */
const WIDTH = 184;
const HEIGHT = 68;
const RIGHT = 48;
const DOWN = 20;
const TIP = 5;

/** Characters of a card's second line: where a count needs them all, its speed stands in the list only. */
const ROOM = 20;

/** Nodes that are drawn; a larger plan is a list only. */
export const MOST = 300;

/** Nodes nobody had planned stand under the plan, at least so many in a row. */
const UNPLANNED = 4;

/** A job's plan with what has become of it. */
export class Graph {
  #edges = svgOf("svg", { class: "edges", "aria-hidden": "true" });
  #list = elementOf("ol", {});
  #stage = elementOf("div", { class: "stage" }, this.#edges, this.#list);
  element = elementOf(
    "div",
    { class: "graph", role: "region", "aria-label": "graph of nodes", tabindex: 0 },
    this.#stage,
  );

  /** @type {Plan | null} */
  #plan = null;
  #isNew = true;
  /** @type {Map<NodeId, Card>} */
  #cards = new Map();
  /** @type {Edge[]} */
  #drawn = [];

  /**
   * @param {Plan | null} plan
   * @param {readonly Step[]} steps
   * @param {Paces} paces
   * @param {number} now the hub's time, ms
   */
  show(plan, steps, paces, now) {
    this.element.hidden = plan === null || plan.nodes.length === 0 || steps.length > MOST;
    if (plan === null || this.element.hidden) return;
    if (plan !== this.#plan || steps.length !== this.#cards.size) this.#arrange(plan, steps);
    for (const step of steps) this.#cards.get(step.id)?.show(step, paces, now);
    for (const edge of this.#drawn) edge.show(this.#cards.get(edge.from)?.state, this.#cards.get(edge.to)?.state);
    if (this.#isNew && this.element.clientWidth > 0) this.#reveal(steps);
  }

  /**
   * Begins where something happens, or where the plan does; from then on it is scrolled by who reads it.
   * @param {readonly Step[]} steps
   */
  #reveal(steps) {
    this.#isNew = false;
    const first = steps.find(({ state }) => state === "running" || state === "failed") ?? steps[0];
    const { x, y } = /** @type {Card} */ (this.#cards.get(first.id)).point;
    const { clientWidth, clientHeight } = this.element;
    this.element.scrollTo(x + (WIDTH - clientWidth) / 2, y + (HEIGHT - clientHeight) / 2);
  }

  /**
   * @param {Plan} plan
   * @param {readonly Step[]} steps
   */
  #arrange(plan, steps) {
    if (plan !== this.#plan) this.#isNew = true;
    this.#plan = plan;
    const { places, links, layers, rows } = layout(plan);
    /** @type {Map<NodeId, Point>} */
    const points = new Map(places.map(({ nodeId, layer, row }) => [nodeId, corner(layer, row)]));
    const unplanned = steps.filter(({ id }) => !points.has(id));
    const columns = Math.max(layers, UNPLANNED);
    unplanned.forEach(({ id }, index) => points.set(id, corner(index % columns, rows + Math.floor(index / columns))));
    this.#placeCards(steps, points, links);
    this.#drawn = links.map((link) => new Edge(link, points));
    this.#edges.replaceChildren(...this.#drawn.map((edge) => edge.element));
    this.#size([...points.values()], links);
  }

  /**
   * @param {readonly Step[]} steps
   * @param {Map<NodeId, Point>} points
   * @param {readonly Link[]} links
   */
  #placeCards(steps, points, links) {
    const names = new Map(steps.map(({ id, name }) => [id, name]));
    /** @type {Map<NodeId, string[]>} */
    const before = new Map();
    for (const { from, to } of links) before.set(to, [...(before.get(to) ?? []), names.get(from) ?? ""]);
    this.#cards = new Map(steps.map(({ id }) => [id, this.#cards.get(id) ?? new Card()]));
    for (const [id, card] of this.#cards) card.place(points.get(id) ?? corner(0, 0), before.get(id) ?? []);
    this.#list.replaceChildren(...[...this.#cards.values()].map((card) => card.element));
  }

  /**
   * @param {Point[]} points
   * @param {readonly Link[]} links
   */
  #size(points, links) {
    const width = points.reduce((most, { x }) => Math.max(most, x + WIDTH), 0);
    const lowest = points.reduce((most, { y }) => Math.max(most, y + HEIGHT), 0);
    // an edge may pass under the last node
    const passing = links.flatMap(({ through }) => through.map(({ layer, row }) => corner(layer, row).y));
    const height = passing.reduce((most, y) => Math.max(most, y + HEIGHT / 2 + TIP), lowest);
    setStyle(this.#stage, "width", `${width}px`);
    setStyle(this.#stage, "height", `${height}px`);
    setAttribute(this.#edges, "width", width);
    setAttribute(this.#edges, "height", height);
  }
}

/**
 * @param {number} layer
 * @param {number} row
 * @returns {Point}
 */
const corner = (layer, row) => ({ x: layer * (WIDTH + RIGHT), y: Math.round(row * (HEIGHT + DOWN)) });

/** One node. */
class Card {
  #sign = new Sign();
  #name = elementOf("span", { class: "name said cut" });
  #amount = elementOf("span", { class: "said cut" });
  #speed = elementOf("span", { class: "speed clock" });
  #bar = new Bar();
  #unseen = elementOf("span", { class: "unseen" });
  element = elementOf(
    "li",
    { class: "node" },
    elementOf("div", { class: "first" }, this.#sign.element, this.#name),
    elementOf("div", { class: "second" }, this.#amount, this.#speed),
    this.#unseen,
    this.#bar.element,
  );
  /** @type {Step | null} */
  #last = null;
  #beat = -1;
  #words = "";
  #after = "";

  /** What it is at. */
  get state() {
    return this.#last?.state;
  }

  point = corner(0, 0);

  /**
   * @param {Point} point
   * @param {string[]} before names of what it comes after
   */
  place(point, before) {
    const { x, y } = (this.point = point);
    setStyle(this.element, "translate", `${x}px ${y}px`);
    this.#after = before.length === 0 ? "" : `, after ${before.join(" and ")}`;
    this.#last = null;
  }

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
    const speed = paceOf(step, paces, now);
    setText(this.#speed, this.#words.length + speed.length > ROOM ? "" : speed);
  }

  /** @param {Step} step */
  #draw({ name, state, node }) {
    setAttribute(this.element, "data-state", state);
    this.#sign.show(state);
    setText(this.#name, name);
    const words = node === null ? "" : wordsOf(node);
    setText(this.#amount, words);
    this.#words = words;
    this.element.title = [name, words, node?.message ? brief(node.message) : ""].filter(Boolean).join("\n");
    setText(this.#unseen, `, ${state}${this.#after}`);
    this.#bar.show(fractionOf(state, node), state);
  }
}

/** @param {import("../shapes.js").NodeView} node */
function wordsOf(node) {
  if (node.error?.message) return brief(node.error.message);
  return amount(node) || (typeof node.fraction === "number" ? percent(node.fraction) : "") || brief(node.message ?? "");
}

/**
 * @param {Step} step
 * @param {Paces} paces
 * @param {number} now
 */
function paceOf({ state, node }, paces, now) {
  return state === "running" && node !== null ? speed(paces.node(node, now).perSecond) : "";
}

/** A line from one node to the next, in the colour of what went along it. */
class Edge {
  #line;
  #tip;
  #state = "idle";
  element;

  /**
   * @param {Link} link
   * @param {Map<NodeId, Point>} points
   */
  constructor(link, points) {
    this.from = link.from;
    this.to = link.to;
    const way = wayOf(link, points);
    const { x, y } = way[way.length - 1];
    this.#line = svgOf("path", { class: link.back ? "edge back" : "edge", d: curve(way) });
    this.#tip = svgOf("path", { class: "tip", d: tipAt(x, y) });
    this.element = svgOf("g", {}, this.#line, this.#tip);
  }

  /**
   * @param {string | undefined} from
   * @param {string | undefined} to
   */
  show(from = "idle", to = "idle") {
    const state = to === "idle" ? "idle" : from === "completed" || from === "running" ? from : "idle";
    if (state === this.#state) return;
    this.#state = state;
    for (const part of [this.#line, this.#tip]) setAttribute(part, "data-state", state === "idle" ? null : state);
  }
}

/**
 * @param {Link} link
 * @param {Map<NodeId, Point>} points
 * @returns {Point[]}
 */
function wayOf({ from, to, through }, points) {
  const start = points.get(from) ?? corner(0, 0);
  const end = points.get(to) ?? corner(0, 0);
  const middle = HEIGHT / 2;
  /** @type {Point[]} */
  const way = [{ x: start.x + WIDTH, y: start.y + middle }];
  for (const { layer, row } of through) {
    const { x, y } = corner(layer, row);
    way.push({ x, y: y + middle }, { x: x + WIDTH, y: y + middle });
  }
  way.push({ x: end.x - 1, y: end.y + middle });
  return way;
}

/**
 * @param {Point[]} way
 * @returns {string} a path, straight along nodes and bent between layers
 */
function curve(way) {
  let path = `M${way[0].x} ${way[0].y}`;
  for (let index = 1; index < way.length; index++) {
    const one = way[index - 1];
    const other = way[index];
    const bend = Math.max((other.x - one.x) / 2, RIGHT / 2);
    path += `C${one.x + bend} ${one.y} ${other.x - bend} ${other.y} ${other.x} ${other.y}`;
  }
  return path;
}

/**
 * @param {number} x
 * @param {number} y
 */
const tipAt = (x, y) => `M${x} ${y}l${-TIP - 1} ${-TIP + 1}v${2 * TIP - 2}z`;
