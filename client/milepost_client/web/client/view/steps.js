// A job's nodes as they are shown: those of the plan in its order, then those nobody had planned. Pure.

import { ENDS, brief } from "./text.js";

/**
 * @typedef {import("../shapes.js").JobView} JobView
 * @typedef {import("../shapes.js").NodeView} NodeView
 * @typedef {string | number} NodeId
 *
 * @typedef {object} Step
 * @property {NodeId} id
 * @property {string} name
 * @property {string} state `idle` before it was heard of; `unknown` when the job ended and the node never did
 * @property {NodeView | null} node what was heard of it
 */

/**
 * @param {JobView} view
 * @returns {Step[]}
 */
export function stepsOf(view) {
  const heard = new Map(view.nodes.map((node) => [node.nodeId, node]));
  const ended = ENDS.has(view.status);
  /** @type {Map<NodeId, Step>} */
  const steps = new Map();
  for (const { nodeId, nodeName } of view.plan?.nodes ?? []) {
    const node = heard.get(nodeId) ?? null;
    const name = nameOf(nodeId, node?.nodeName ?? nodeName);
    steps.set(nodeId, { id: nodeId, name, state: stateOf(node, ended), node });
  }
  for (const [id, node] of heard) {
    if (!steps.has(id)) steps.set(id, { id, name: nameOf(id, node.nodeName), state: stateOf(node, ended), node });
  }
  return [...steps.values()];
}

/**
 * Whether there is nothing new to draw of it.
 * @param {Step} one
 * @param {Step} other
 */
export const isSame = (one, other) =>
  one.node === other.node && one.state === other.state && one.name === other.name;

/**
 * @param {NodeId} id
 * @param {string | null | undefined} name
 */
const nameOf = (id, name) => brief(name ?? "") || `node ${brief(id)}`;

/**
 * @param {NodeView | null} node
 * @param {boolean} ended the job has
 */
function stateOf(node, ended) {
  if (node === null) return "idle";
  const status = node.status ?? "running";
  return ended && status === "running" ? "unknown" : status;
}
