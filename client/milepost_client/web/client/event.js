// The event payload: its kind and status by the protocol's defaults. The hub lets nothing through that is no event;
// what is looked at again here is what a page could trip over.

/** The terminal statuses, of a node and of a job alike. @type {ReadonlySet<unknown>} */
export const ENDS = new Set(["completed", "failed", "cancelled"]);

const NODE_STATUSES = new Set([...ENDS, "idle", "running"]);

/** @type {ReadonlySet<unknown>} */
export const JOB_STATUSES = new Set([...ENDS, "queued", "running", "cancelling"]);

const TEXTS = ["status", "nodeName", "unit", "message", "at", "name"];
const NUMBERS = ["rowCount", "total", "fraction", "run"];

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>} an object and no array
 */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * @param {unknown} value
 * @param {readonly string[]} texts fields that are texts where they are given
 * @param {readonly string[]} numbers fields that are numbers where they are given
 * @returns {value is Record<string, unknown>}
 */
export const isFit = (value, texts = TEXTS, numbers = NUMBERS) =>
  isObject(value) &&
  texts.every((name) => typeof (value[name] ?? "") === "string") &&
  numbers.every((name) => typeof (value[name] ?? 0) === "number") &&
  isNodeId(value.nodeId ?? 0) &&
  isObject(value.error ?? {});

/**
 * @param {unknown} list
 * @param {(item: any) => boolean} fits
 */
export const isListOf = (list, fits) => Array.isArray(list) && list.every(fits);

/** @param {unknown} id */
const isNodeId = (id) => typeof id === "number" || typeof id === "string";

/** @param {unknown} node */
export const isNode = (node) => isFit(node) && isNodeId(node.nodeId);

/** @param {unknown} data */
export const isArtifact = (data) => isObject(data) && typeof data.name === "string" && typeof data.uri === "string";

/** @param {unknown} node */
const isPlanned = (node) => isFit(node, ["nodeName"], ["weight"]) && isNodeId(node.nodeId);

/** @param {unknown[]} edge */
const isEdge = (edge) => edge.length === 2 && isListOf(edge, isNodeId);

/** @param {unknown} data */
export const isPlan = (data) => isObject(data) && isListOf(data.nodes, isPlanned) && isListOf(data.edges ?? [], isEdge);

/** @type {Map<unknown, (data: unknown) => boolean>} */
const KINDS = new Map([
  ["progress", () => true],
  ["job", () => true],
  ["result", (data) => data !== undefined],
  ["log", (data) => isFit(data ?? {}, ["level"], [])],
  ["artifact", isArtifact],
  ["plan", isPlan],
]);

/**
 * The payload's kind, by the protocol's defaults where it names none; null when it is no event.
 * @param {unknown} payload
 * @returns {import("./shapes.js").Kind | null}
 */
export function kindOf(payload) {
  if (!isFit(payload)) return null;
  const status = payload.status ?? null;
  const kind = payload.kind ?? (status !== null && (payload.nodeId ?? null) === null ? "job" : "progress");
  if (!KINDS.get(kind)?.(payload.data)) return null;
  if (payload.data === undefined && (status ?? payload.message ?? payload.fraction ?? null) === null) return null;
  if (status !== null && !(kind === "job" ? JOB_STATUSES : NODE_STATUSES).has(status)) return null;
  return /** @type {import("./shapes.js").Kind} */ (kind);
}
