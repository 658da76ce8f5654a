import assert from "node:assert/strict";
import { test } from "node:test";
import { layout } from "../../client/milepost_client/web/client/view/layout.js";

/**
 * @param {(number | string)[]} ids
 * @param {(number | string)[][]} edges
 */
const plan = (ids, edges) => ({ nodes: ids.map((nodeId) => ({ nodeId })), edges });

/** @param {import("../../client/milepost_client/web/client/view/layout.js").Layout} drawn */
const layers = (drawn) => Object.fromEntries(drawn.places.map(({ nodeId, layer }) => [nodeId, layer]));

/** @param {import("../../client/milepost_client/web/client/view/layout.js").Layout} drawn */
function sound(drawn) {
  const taken = [...drawn.places, ...drawn.links.flatMap((link) => link.through)];
  for (let layer = 0; layer < drawn.layers; layer++) {
    const rows = taken.filter((place) => place.layer === layer).map((place) => place.row);
    rows.sort((one, other) => one - other);
    assert.ok(rows.every((row, index) => index === 0 || row - rows[index - 1] > 1 - 1e-6));
  }
  assert.ok(taken.every(({ row }) => row > -1e-6 && row <= drawn.rows - 1 + 1e-6));
  const at = layers(drawn);
  for (const { from, to, back } of drawn.links) assert.ok(back || at[from] < at[to], `${from} is left of ${to}`);
}

test("each node is right of all it comes after", () => {
  const drawn = layout(plan([1, 2, 3, 4], [[1, 2], [2, 3], [1, 3], [3, 4]]));
  assert.deepEqual(layers(drawn), { 1: 0, 2: 1, 3: 2, 4: 3 });
  sound(drawn);
});

test("a chain is a straight line", () => {
  const drawn = layout(plan(["a", "b", "c"], [["a", "b"], ["b", "c"]]));
  assert.deepEqual(drawn.places.map(({ row }) => row), [0, 0, 0]);
  assert.equal(drawn.rows, 1);
});

test("edges that need not cross do not", () => {
  const drawn = layout(plan([1, 2, 3, 4], [[1, 4], [2, 3]]));
  const row = Object.fromEntries(drawn.places.map((place) => [place.nodeId, place.row]));
  assert.equal(Math.sign(row[1] - row[2]), Math.sign(row[4] - row[3]));
});

test("an edge over several layers has a way of its own past the nodes there", () => {
  const drawn = layout(plan([1, 2, 3, 4], [[1, 2], [2, 3], [3, 4], [1, 4]]));
  const long = drawn.links.find(({ from, to }) => from === 1 && to === 4);
  assert.deepEqual(long?.through.map(({ layer }) => layer), [1, 2]);
  sound(drawn);
});

test("circles, loops, doubles and unknown nodes are tolerated", () => {
  const drawn = layout(plan([1, 2, 3, 3], [[1, 2], [2, 3], [3, 1], [1, 1], [1, 2], [9, 1], [1, 9]]));
  assert.deepEqual(layers(drawn), { 1: 0, 2: 1, 3: 2 });
  assert.deepEqual(drawn.links.map(({ from, to, back }) => [from, to, back]), [
    [1, 2, false],
    [2, 3, false],
    [3, 1, true],
  ]);
});

test("a plan without nodes, and one without edges", () => {
  assert.deepEqual(layout(plan([], [])), { places: [], links: [], layers: 0, rows: 0 });
  const drawn = layout({ nodes: [{ nodeId: 1 }, { nodeId: 2 }] });
  assert.deepEqual([drawn.layers, drawn.rows], [1, 2]);
});

test("ids 1 and \"1\" are two nodes", () => {
  assert.equal(layout(plan([1, "1"], [[1, "1"]])).layers, 2);
});

test("any plan is laid out soundly, a large one too", () => {
  let seed = 7;
  const random = (/** @type {number} */ below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (const size of [2, 5, 20, 60, 1_000]) {
    const ids = Array.from({ length: size }, (_, id) => id);
    sound(layout(plan(ids, Array.from({ length: size * 2 }, () => [random(size), random(size)]))));
  }
  const chain = Array.from({ length: 5_000 }, (_, id) => id);
  assert.equal(layout(plan(chain, chain.slice(1).map((id) => [id - 1, id]))).layers, 5_000);
});
