// The reducer: a job's events in, its state out, as milepost_reporter.state has it. tests/reporter/cases/*.json are its
// cases, for both.

import { ENDS, JOB_STATUSES, isArtifact, isFit, isListOf, isNode, isObject, isPlan, kindOf } from "./event.js";
import { Kept } from "./kept.js";
import { RunGate } from "./runs.js";

/** @import { Artifact, EventError, JobStatus, JobView, Kind, LogLine, NodeId, NodeView, Payload } from "./shapes.js" */

const MAX_NODES = 5_000;
const MAX_ARTIFACTS = 1_000;
const LOG_LINES = 200;
const TIMES = /** @type {const} */ (["queuedAt", "startedAt", "endedAt", "lastEventAt"]);
const NODE_FIELDS = /** @type {const} */ (["nodeName", "status", "rowCount", "total", "unit", "message"]);

/** Everything about a run that is not counted: no nodes, no artifacts, no log. */
const NOTHING = Object.freeze({
  status: /** @type {JobStatus} */ ("unknown"),
  fraction: /** @type {number | null} */ (null),
  message: /** @type {string | null} */ (null),
  plan: /** @type {JobView["plan"]} */ (null),
  result: /** @type {unknown} */ (null),
  error: /** @type {EventError | null} */ (null),
  queuedAt: /** @type {string | null} */ (null),
  startedAt: /** @type {string | null} */ (null),
  endedAt: /** @type {string | null} */ (null),
  willRetry: false,
  truncated: /** @type {readonly string[]} */ (Object.freeze([])),
});

/** What one job's events amount to. Late events never change it. */
export class JobState {
  #gate = new RunGate();
  #jobId;
  #logLines;
  /** @type {string | null} */
  #name = null;
  /** @type {string | null} */
  #lastEventAt = null;
  #stalled = false;
  #durable = false;
  #own = { ...NOTHING };
  /** @type {Kept<NodeId, NodeView>} */
  #nodes = new Kept(MAX_NODES);
  /** @type {Kept<string, Artifact>} */
  #artifacts = new Kept(MAX_ARTIFACTS);
  /** @type {Kept<number, LogLine>} */
  #log;
  #lines = 0;
  /** @type {Readonly<JobView> | null} */
  #view = null;

  /**
   * @param {string | number} jobId
   * @param {{ logLines?: number }} [options] how many log lines are kept, 200
   */
  constructor(jobId, { logLines = LOG_LINES } = {}) {
    this.#jobId = jsonJobId(jobId);
    this.#logLines = logLines;
    this.#log = new Kept(logLines);
  }

  /**
   * The state that a snapshot tells of, ready for the events behind its cursor. TypeError when it is none.
   * @param {unknown} snapshot as the hub sends it
   * @param {{ logLines?: number }} [options]
   */
  static ofSnapshot(snapshot, options) {
    if (!isSnapshot(snapshot)) throw new TypeError("no snapshot of a job");
    const state = new JobState(snapshot.jobId, options);
    state.#restore(snapshot);
    return state;
  }

  /** The current run, from 1. */
  get run() {
    return this.#gate.run;
  }

  /** Whether the current run has had its end. */
  get ended() {
    return this.#gate.ended;
  }

  /** Whether the current run's end said that another run follows. */
  get willRetry() {
    return this.#own.willRetry;
  }

  /**
   * The state as it is now: the same object until something changes.
   * @returns {Readonly<JobView>}
   */
  get view() {
    return (this.#view ??= Object.freeze({
      jobId: this.#jobId,
      name: this.#name,
      run: this.run,
      ...this.#own,
      fraction: this.#own.fraction ?? this.#planned(),
      nodes: this.#nodes.list,
      artifacts: this.#artifacts.list,
      logTail: this.#log.list,
      lastEventAt: this.#lastEventAt,
      stalled: this.#stalled,
      durable: this.#durable,
    }));
  }

  /**
   * Take in one event, in the log's order.
   * @param {unknown} payload as it was published
   * @param {string | null} at when it was stored or received, RFC 3339; null: now
   * @param {number} [run] that of the end's subject; it outranks the payload's
   * @returns {"live" | "end" | "late" | null} null when it is no event
   */
  apply(payload, at, run) {
    const kind = kindOf(payload);
    if (kind === null) return null;
    const event = /** @type {Payload} */ (payload);
    const before = this.run;
    const verdict = this.#gate.admit(run || event.run, kind === "job" && ENDS.has(event.status));
    if (verdict === "late") return verdict;
    if (this.run !== before) this.#begin();
    this.#take(kind, event, time(at) ?? new Date().toISOString());
    this.#stalled = false;
    this.#view = null;
    return verdict;
  }

  /** A run's state before its first event. */
  #begin() {
    this.#own = { ...NOTHING };
    this.#nodes = new Kept(MAX_NODES);
    this.#artifacts = new Kept(MAX_ARTIFACTS);
    this.#log = new Kept(this.#logLines);
  }

  /**
   * @param {Kind} kind
   * @param {Payload} event
   * @param {string} at
   */
  #take(kind, event, at) {
    if (this.#lastEventAt === null || at > this.#lastEventAt) this.#lastEventAt = at;
    const when = time(event.at) ?? at;
    if (kind !== "job" && this.#own.status === "unknown") {
      this.#own.status = "running";
      this.#own.startedAt = when;
    }
    if (kind === "job") this.#takeJob(event, when);
    else if (kind === "log") this.#takeLog(event, when);
    else if (kind === "artifact") this.#putArtifact({ ...event.data, at: when });
    else if (kind === "plan") this.#own.plan = event.data;
    else if (kind === "result") this.#own.result = event.data;
    else if ((event.nodeId ?? null) === null) this.#takeWords(event);
    else this.#takeNode(/** @type {NodeId} */ (event.nodeId), event, when);
  }

  /**
   * @param {Payload} event
   * @param {string} when
   */
  #takeJob(event, when) {
    const own = this.#own;
    this.#name = event.name ?? this.#name;
    this.#takeWords(event);
    if ((event.status ?? null) === null) return;
    own.status = /** @type {JobStatus} */ (event.status);
    if (own.status === "queued") own.queuedAt ??= when;
    if (own.status === "running") own.startedAt ??= when;
    if (!ENDS.has(own.status)) return;
    own.endedAt = when;
    own.willRetry = event.willRetry === true;
    if (own.status === "completed") own.fraction = 1;
  }

  /**
   * What an event says about the job as a whole.
   * @param {Payload} event
   */
  #takeWords(event) {
    const own = this.#own;
    own.fraction = fractionOf(event, event.total) ?? own.fraction;
    own.message = event.message ?? own.message;
    own.error = errorOf(event) ?? own.error;
  }

  /**
   * @param {NodeId} nodeId
   * @param {Payload} event
   * @param {string} when
   */
  #takeNode(nodeId, event, when) {
    const known = this.#nodes.get(nodeId);
    /** @type {NodeView} */
    // not begun with a spread: V8 then gives each copy a shape of its own, and reading thousands takes ten times longer
    const node = { nodeId, ...known, at: when };
    const { status } = event;
    if (status !== "idle") node.startedAt ??= when;
    if (ENDS.has(status)) node.endedAt ??= when;
    else if (status) delete node.endedAt;
    for (const field of NODE_FIELDS) {
      if ((event[field] ?? null) !== null) node[field] = /** @type {never} */ (event[field]);
    }
    const fraction = fractionOf(event, node.total);
    if (fraction !== null) node.fraction = fraction;
    const error = errorOf(event);
    if (error !== null) node.error = error;
    const textual = !known || event.message || status || event.nodeName || event.unit || error;
    this.#nodes.put(nodeId, node, textual ? sizeOf(node) : undefined);
  }

  /**
   * @param {Payload} event
   * @param {string} at
   */
  #takeLog(event, at) {
    /** @type {LogLine} */
    const line = { at, level: event.data?.level || "info", message: event.message ?? null };
    this.#putLine((event.nodeId ?? null) === null ? line : { ...line, nodeId: /** @type {NodeId} */ (event.nodeId) });
  }

  /** @param {LogLine} line */
  #putLine(line) {
    this.#log.put(this.#lines++, line, sizeOf(line));
  }

  /** @param {Artifact} artifact */
  #putArtifact(artifact) {
    this.#artifacts.put(artifact.name, artifact, sizeOf(artifact));
  }

  /** @param {JobView} snapshot */
  #restore(snapshot) {
    const { status, fraction, message, plan, result = null, error, queuedAt, startedAt, endedAt } = snapshot;
    const { willRetry = false, truncated = [] } = snapshot;
    const times = { queuedAt, startedAt, endedAt };
    this.#own = { status, fraction, message, plan, result, error, ...times, willRetry, truncated };
    this.#gate.run = snapshot.run;
    this.#gate.ended = ENDS.has(snapshot.status);
    this.#name = snapshot.name;
    this.#lastEventAt = snapshot.lastEventAt;
    this.#stalled = snapshot.stalled === true;
    this.#durable = snapshot.durable === true;
    for (const node of snapshot.nodes) this.#nodes.put(node.nodeId, { ...node }, sizeOf(node));
    for (const artifact of snapshot.artifacts) this.#putArtifact({ ...artifact });
    for (const line of snapshot.logTail) this.#putLine({ ...line });
    // A snapshot does not say whether its fraction was given or came of the plan: one that the plan explains is the
    // plan's, and goes on with it.
    if (this.#planned() === fraction) this.#own.fraction = null;
  }

  /** The plan's nodes weighed, null without a plan. */
  #planned() {
    const nodes = this.#nodes;
    let done = 0;
    let weights = 0;
    for (const planned of this.#own.plan?.nodes ?? []) {
      const weight = planned.weight ?? 1;
      weights += weight;
      done += weight * doneOf(nodes.get(planned.nodeId));
    }
    return weights ? done / weights : null;
  }
}

/**
 * A job's id as the hub shows it: a number when it is a canonical decimal below 2^53, else a string.
 * @param {string | number} id
 */
export function jsonJobId(id) {
  const text = String(id);
  const number = Number(text);
  return /^\d+$/.test(text) && String(number) === text && Number.isSafeInteger(number) ? number : text;
}

/**
 * As the wire has it: UTC, milliseconds, Z. Null when it is no time.
 * @param {string | null | undefined} at
 */
function time(at) {
  const parsed = Date.parse(at ?? "");
  return Number.isNaN(parsed) ? null : new Date(parsed).toISOString();
}

/**
 * @param {Payload} event
 * @param {number | null | undefined} total
 */
function fractionOf({ fraction, rowCount }, total) {
  if ((fraction ?? null) !== null) return /** @type {number} */ (fraction);
  if ((rowCount ?? null) === null || !total || total <= 0) return null;
  return Math.min(Math.max(/** @type {number} */ (rowCount) / total, 0), 1);
}

/**
 * How much of it is done, 0..1.
 * @param {NodeView | undefined} node
 */
const doneOf = (node) => (node?.status === "completed" ? 1 : (node?.fraction ?? 0));

/**
 * @param {Payload} event
 * @returns {EventError | null}
 */
function errorOf({ error }) {
  return error ? { message: error.message ?? null, details: error.details ?? null } : null;
}

/**
 * About how many characters its texts take.
 * @param {object} item
 */
function sizeOf(item) {
  let size = 0;
  for (const value of Object.values(item)) {
    if (typeof value === "string") size += value.length;
    else if (isObject(value) || Array.isArray(value)) size += JSON.stringify(value).length;
  }
  return size;
}

/**
 * @param {unknown} value
 * @returns {value is JobView}
 */
function isSnapshot(value) {
  return (
    isFit(value) &&
    TIMES.every((name) => value[name] === null || time(/** @type {string} */ (value[name])) !== null) &&
    ["string", "number"].includes(typeof value.jobId) &&
    (value.status === "unknown" || JOB_STATUSES.has(value.status)) &&
    Number.isInteger(value.run) &&
    /** @type {number} */ (value.run) > 0 &&
    isListOf(value.nodes, isNode) &&
    isListOf(value.artifacts, isArtifact) &&
    isListOf(value.logTail, (line) => isFit(line) && typeof line.level === "string") &&
    isListOf(value.truncated ?? [], (name) => typeof name === "string") &&
    (value.plan === null || isPlan(value.plan))
  );
}
