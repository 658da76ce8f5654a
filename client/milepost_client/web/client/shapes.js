// The shapes of events and of a job's state, for the type checker and for people: no page loads this file.

/** @typedef {"progress" | "job" | "log" | "artifact" | "plan" | "result"} Kind */

/** @typedef {number | string} NodeId An integer or a short string. */

/** @typedef {"idle" | "running" | "completed" | "failed" | "cancelled"} NodeStatus */

/** @typedef {"unknown" | "queued" | "running" | "cancelling" | "completed" | "failed" | "cancelled"} JobStatus */

/**
 * What went wrong: one line for a person, and as much more as helps.
 * @typedef {{ readonly message: string | null, readonly details: unknown }} EventError
 */

/**
 * The nodes to come and which follows which; `weight` is a node's share of the job's fraction, 1 when not given.
 * @typedef {object} Plan
 * @property {readonly PlanNode[]} nodes
 * @property {readonly (readonly NodeId[])[] | null} [edges] pairs, from and to
 */

/**
 * @typedef {{ readonly nodeId: NodeId, readonly nodeName?: string | null, readonly weight?: number | null }} PlanNode
 */

/**
 * An event's payload as it was published. All fields are optional, and there may be more than these.
 * @typedef {object} Payload
 * @property {Kind | null} [kind] see `kindOf` for what it is without one
 * @property {NodeStatus | JobStatus | null} [status] a node's, or on a `job` event the job's
 * @property {NodeId | null} [nodeId]
 * @property {string | null} [nodeName]
 * @property {number | null} [rowCount] how many are done
 * @property {number | null} [total] how many are expected
 * @property {string | null} [unit] what is counted
 * @property {number | null} [fraction] 0..1
 * @property {string | null} [message]
 * @property {number | null} [run] which execution of the job, from 1
 * @property {any} [data] by kind: log `{level}`, artifact `{name, uri}`, plan `Plan`, result: any JSON
 * @property {{ message?: string | null, details?: unknown } | null} [error]
 * @property {string | null} [at] when it happened at the source, RFC 3339
 * @property {boolean | null} [willRetry] on a job's end: another run follows
 * @property {string | null} [name] on a `job` event: the job's name
 */

/**
 * The latest of every field that a node's events gave. Times are RFC 3339 in UTC; a fraction is 0..1.
 * @typedef {object} NodeView
 * @property {NodeId} nodeId
 * @property {string} [nodeName]
 * @property {NodeStatus} [status]
 * @property {number} [rowCount]
 * @property {number} [total]
 * @property {string} [unit]
 * @property {string} [message]
 * @property {number} [fraction]
 * @property {EventError} [error]
 * @property {string} [at] of its last event
 * @property {string} [startedAt] of its first event that does not say `idle`
 * @property {string} [endedAt] of its end, until it goes on
 */

/**
 * @typedef {{ readonly at: string, readonly level: string, readonly message: string | null,
 *   readonly nodeId?: NodeId }} LogLine
 */

/**
 * There may be more fields than these.
 * @typedef {Readonly<Record<string, unknown>> & { readonly name: string, readonly uri: string,
 *   readonly at: string }} Artifact
 */

/**
 * A job's state. Never changed: a change makes another one, in which what has not changed is the same object.
 * Times are RFC 3339 in UTC.
 * @typedef {object} JobView
 * @property {number | string} jobId
 * @property {string | null} name
 * @property {JobStatus} status
 * @property {number} run the current run, from 1
 * @property {number | null} fraction 0..1, given or weighed from the plan's nodes
 * @property {string | null} message
 * @property {readonly Readonly<NodeView>[]} nodes in the order in which they were first heard of
 * @property {Plan | null} plan
 * @property {readonly Artifact[]} artifacts
 * @property {readonly LogLine[]} logTail oldest first
 * @property {unknown} result
 * @property {EventError | null} error
 * @property {string | null} queuedAt
 * @property {string | null} startedAt
 * @property {string | null} endedAt
 * @property {string | null} lastEventAt when the last event was stored, or received where nothing is stored
 * @property {boolean} stalled no event for a while, as the hub last said
 * @property {boolean} durable whether events are stored
 * @property {boolean} willRetry the run has ended and another one follows
 * @property {readonly string[]} truncated fields of which the hub's snapshot did not tell all
 */

export {};
