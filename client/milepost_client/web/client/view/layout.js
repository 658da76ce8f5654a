/** A plan's nodes into layers, for drawing: each node right of all it comes after, few edges crossing. Pure. */

/** @typedef {import("../shapes.js").NodeId} NodeId */

/**
 * Where a node is drawn: its layer counts from 0 on the left; its row is a position from the top in heights of a node,
 * 0 for the topmost, not always a whole number, and at least 1 away from every other one's in its layer.
 * @typedef {{ readonly nodeId: NodeId, readonly layer: number, readonly row: number }} Place
 */

/**
 * An edge between two places and what it passes in the layers between; `back` when it closes a circle and leads left.
 * @typedef {{ readonly from: NodeId, readonly to: NodeId, readonly back: boolean,
 *   readonly through: readonly { readonly layer: number, readonly row: number }[] }} Link
 */

/** @typedef {{ readonly places: readonly Place[], readonly links: readonly Link[], readonly layers: number,
 *   readonly rows: number }} Layout `rows`: how many heights of a node it takes */

/** @typedef {{ layer: number, row: number, before: Spot[], after: Spot[], nodeId?: NodeId }} Spot */

const SWEEPS = 8;
/** Places for edges to pass through; beyond, edges go straight. */
const MOST_PASSED = 4_000;

/**
 * Nodes named twice count once; edges to unknown nodes, to themselves and named twice are left out.
 * @param {import("../shapes.js").Plan} plan
 * @returns {Layout}
 */
export function layout(plan) {
  const spots = new Map(plan.nodes.map(({ nodeId }) => [nodeId, spotOf(nodeId)]));
  const edges = edgesOf(plan, spots);
  const forward = edges.filter((edge) => !edge.back);
  for (const { from, to } of forward) join(from, to);
  assignLayers([...spots.values()]);
  const passed = passThrough(forward, [...spots.values()]);
  const layers = layersOf([...spots.values(), ...[...passed.values()].flat()]);
  reduceCrossings(layers);
  straighten(layers);
  return drawn(spots, edges, passed, layers);
}

/**
 * @param {NodeId} [nodeId]
 * @returns {Spot}
 */
const spotOf = (nodeId) => ({ layer: 0, row: 0, before: [], after: [], nodeId });

/**
 * @param {Spot} from
 * @param {Spot} to
 */
function join(from, to) {
  from.after.push(to);
  to.before.push(from);
}

/** @typedef {{ from: Spot, to: Spot, back: boolean }} Edge */

/**
 * The plan's edges, those that close a circle marked: a walk in the plan's order meets them on its own way.
 * @param {import("../shapes.js").Plan} plan
 * @param {Map<NodeId, Spot>} spots
 * @returns {Edge[]}
 */
function edgesOf(plan, spots) {
  /** @type {Map<Spot, Map<Spot, Edge>>} */
  const leaving = new Map([...spots.values()].map((spot) => [spot, new Map()]));
  for (const [one, other] of plan.edges ?? []) {
    const [from, to] = [spots.get(one), spots.get(other)];
    if (from && to && from !== to) leaving.get(from)?.set(to, { from, to, back: false });
  }
  markBack(leaving);
  return [...leaving.values()].flatMap((edges) => [...edges.values()]);
}

/** @param {Map<Spot, Map<Spot, Edge>>} leaving */
function markBack(leaving) {
  /** @type {Map<Spot, "open" | "done">} */
  const met = new Map();
  for (const start of leaving.keys()) {
    // a stack of our own: a chain of thousands would be too deep for calls
    const path = met.has(start) ? [] : [{ spot: start, edges: edgesFrom(leaving, start) }];
    if (path.length) met.set(start, "open");
    while (path.length) {
      const { spot, edges } = path[path.length - 1];
      const { value: edge, done } = edges.next();
      if (done) {
        met.set(spot, "done");
        path.pop();
      } else if (met.get(edge.to) === "open") edge.back = true;
      else if (!met.has(edge.to)) {
        met.set(edge.to, "open");
        path.push({ spot: edge.to, edges: edgesFrom(leaving, edge.to) });
      }
    }
  }
}

/**
 * @param {Map<Spot, Map<Spot, Edge>>} leaving
 * @param {Spot} spot
 */
const edgesFrom = (leaving, spot) => /** @type {Map<Spot, Edge>} */ (leaving.get(spot)).values();

/**
 * Each node's layer is the longest way to it.
 * @param {Spot[]} spots without circles
 */
function assignLayers(spots) {
  const missing = new Map(spots.map((spot) => [spot, spot.before.length]));
  const ready = spots.filter((spot) => spot.before.length === 0);
  for (const spot of ready) {
    for (const next of spot.after) {
      next.layer = Math.max(next.layer, spot.layer + 1);
      const left = /** @type {number} */ (missing.get(next)) - 1;
      missing.set(next, left);
      if (left === 0) ready.push(next);
    }
  }
}

/**
 * A spot in every layer that an edge passes, so that it has a way between the nodes there. Joins them anew.
 * @param {Edge[]} edges
 * @param {Spot[]} spots
 * @returns {Map<Edge, Spot[]>}
 */
function passThrough(edges, spots) {
  /** @type {Map<Edge, Spot[]>} */
  const passed = new Map();
  const needed = edges.reduce((sum, { from, to }) => sum + to.layer - from.layer - 1, 0);
  if (needed > MOST_PASSED) return passed;
  for (const spot of spots) [spot.before, spot.after] = [[], []];
  for (const edge of edges) {
    const way = Array.from({ length: edge.to.layer - edge.from.layer - 1 }, (_, index) => ({
      ...spotOf(),
      layer: edge.from.layer + 1 + index,
    }));
    const all = [edge.from, ...way, edge.to];
    for (let index = 1; index < all.length; index++) join(all[index - 1], all[index]);
    passed.set(edge, way);
  }
  return passed;
}

/** @param {Spot[]} spots */
function layersOf(spots) {
  /** @type {Spot[][]} */
  const layers = [];
  for (const spot of spots) (layers[spot.layer] ??= []).push(spot);
  layers.forEach(number);
  return layers;
}

/** @param {Spot[]} layer */
const number = (layer) => layer.forEach((spot, row) => (spot.row = row));

/**
 * Every layer in the order of where its neighbours stand, to and fro; the order with the fewest crossings is kept.
 * @param {Spot[][]} layers
 */
function reduceCrossings(layers) {
  let fewest = crossings(layers);
  let best = layers.map((layer) => [...layer]);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep++) {
    const right = sweep % 2 === 0;
    for (const layer of right ? layers : [...layers].reverse()) orderBy(layer, right ? "before" : "after");
    const now = crossings(layers);
    if (now < fewest) [fewest, best] = [now, layers.map((layer) => [...layer])];
  }
  best.forEach((layer, index) => {
    layers[index] = layer;
    number(layer);
  });
}

/**
 * @param {Spot[]} layer
 * @param {"before" | "after"} side
 */
function orderBy(layer, side) {
  const wanted = new Map(layer.map((spot) => [spot, middle(spot[side], spot.row)]));
  layer.sort((one, other) => /** @type {number} */ (wanted.get(one)) - /** @type {number} */ (wanted.get(other)));
  number(layer);
}

/**
 * The mean row of these, or else the one given.
 * @param {Spot[]} spots
 * @param {number} otherwise
 */
const middle = (spots, otherwise) =>
  spots.length ? spots.reduce((sum, spot) => sum + spot.row, 0) / spots.length : otherwise;

/**
 * How many pairs of edges between neighbouring layers cross: counted as inversions, with a tree of sums.
 * @param {Spot[][]} layers
 */
function crossings(layers) {
  let count = 0;
  for (const layer of layers) {
    const ends = layer.flatMap((spot) => spot.after.map((after) => after.row).sort((one, other) => one - other));
    const size = ends.reduce((most, row) => Math.max(most, row), 0) + 1;
    const sums = new Int32Array(size + 1);
    ends.forEach((row, seen) => {
      let notAbove = 0;
      for (let at = row + 1; at > 0; at -= at & -at) notAbove += sums[at];
      count += seen - notAbove;
      for (let at = row + 1; at <= size; at += at & -at) sums[at]++;
    });
  }
  return count;
}

/**
 * Rows moved towards those of their neighbours, in the order that stands and at least 1 apart.
 * @param {Spot[][]} layers
 */
function straighten(layers) {
  const tallest = Math.max(0, ...layers.map((layer) => layer.length));
  for (const layer of layers) for (const spot of layer) spot.row += (tallest - layer.length) / 2;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const right = sweep % 2 === 0;
    for (const layer of right ? layers : [...layers].reverse()) {
      const wanted = layer.map((spot) => middle(right ? spot.before : spot.after, spot.row));
      spread(wanted).forEach((row, index) => (layer[index].row = row));
    }
  }
}

/**
 * The rows nearest to those wanted that are in order and 1 apart: neighbours that want the same place share the way.
 * @param {number[]} wanted
 */
function spread(wanted) {
  /** @type {{ sum: number, size: number }[]} */
  const blocks = [];
  wanted.forEach((row, index) => {
    let block = { sum: row - index, size: 1 };
    for (let last = blocks.at(-1); last && last.sum / last.size > block.sum / block.size; last = blocks.at(-1)) {
      block = { sum: last.sum + block.sum, size: last.size + block.size };
      blocks.pop();
    }
    blocks.push(block);
  });
  return blocks.flatMap(({ sum, size }) => Array(size).fill(sum / size)).map((row, index) => row + index);
}

/**
 * @param {Map<NodeId, Spot>} spots
 * @param {Edge[]} edges
 * @param {Map<Edge, Spot[]>} passed
 * @param {Spot[][]} layers
 * @returns {Layout}
 */
function drawn(spots, edges, passed, layers) {
  const rows = layers.flat().map((spot) => spot.row);
  const top = rows.reduce((least, row) => Math.min(least, row), Infinity);
  const bottom = rows.reduce((most, row) => Math.max(most, row), -Infinity);
  const places = [...spots].map(([nodeId, { layer, row }]) => ({ nodeId, layer, row: row - top }));
  const links = edges.map((edge) => ({
    from: /** @type {NodeId} */ (edge.from.nodeId),
    to: /** @type {NodeId} */ (edge.to.nodeId),
    back: edge.back,
    through: (passed.get(edge) ?? []).map(({ layer, row }) => ({ layer, row: row - top })),
  }));
  return { places, links, layers: layers.length, rows: rows.length ? bottom - top + 1 : 0 };
}
