// Jobs from a page: submitted, submitted again. Not part of the core: only who submits loads it.

import { MilepostError } from "./errors.js";

/** @import { Milepost } from "./milepost.js" */
/** @import { RequestOptions } from "./http.js" */

/**
 * A job that the hub has taken.
 * @typedef {object} Submitted
 * @property {string | number} jobId
 * @property {string | null} token a short-lived one, good for this job only; null where the hub issues none
 * @property {string} stream where its server-sent events are to be had, as the hub's own path
 */

/**
 * Have a job run. Without a `signal` the hub has the client's `idle` to answer.
 *
 * Rejects with MilepostError in the hub's words when it is refused, `reasons` being what is wrong with the payload; also
 * when the hub cannot take jobs for now (`status` 503) or was not heard of (`network`). Whether the job was taken is not
 * known then: with a `key` the same can be submitted once more, and is one job. Aborted, it rejects with the signal's
 * reason; TypeError for a payload that JSON has no words for.
 * @param {Milepost} milepost its token needs the scope `submit`
 * @param {string} name the handler's
 * @param {unknown} payload JSON
 * @param {{ key?: string, signal?: AbortSignal }} [options] key: what makes this job the same as another one
 * @returns {Promise<Submitted>}
 */
export async function submit(milepost, name, payload, { key, signal } = {}) {
  const body = new Blob([JSON.stringify({ name, payload, key })], { type: "application/json" });
  return submitted(await asked(milepost, "", { method: "POST", body }, signal));
}

/**
 * Have a job run that was submitted before, as another job with the same handler and payload. Rejects as `submit` does;
 * with `status` 404 when it was not submitted here.
 * @param {Milepost} milepost its token needs the scope `submit`
 * @param {string | number} id
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<Submitted>}
 */
export async function submitAgain(milepost, id, { signal } = {}) {
  return submitted(await asked(milepost, `/${encodeURIComponent(id)}/again`, { method: "POST" }, signal));
}

/**
 * The name of the handler that a job was submitted to; null when it was not submitted here, and so cannot be submitted
 * again.
 * @param {Milepost} milepost
 * @param {string | number} id
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<string | null>}
 */
export async function submittedAs(milepost, id, { signal } = {}) {
  try {
    const { name } = await asked(milepost, `/${encodeURIComponent(id)}/submission`, {}, signal);
    return typeof name === "string" ? name : null;
  } catch (error) {
    if (error instanceof MilepostError && error.status === 404) return null;
    throw error;
  }
}

/**
 * @param {Milepost} milepost
 * @param {string} path
 * @param {RequestOptions} options
 * @param {AbortSignal} [signal]
 * @returns {Promise<Record<string, unknown>>} what the hub has answered; empty when it is no object
 */
async function asked(milepost, path, options, signal) {
  try {
    const response = await milepost.request(path, signal ? { ...options, signal } : options);
    return Object(await response.json().catch(cutOff));
  } catch (error) {
    // a proxy's problem may have errors of another shape
    if (error instanceof MilepostError) error.reasons = error.reasons.filter(isReason);
    throw signal?.aborted ? signal.reason : error;
  }
}

/** @param {import("./errors.js").Reason} reason as it came */
const isReason = (reason) => Array.isArray(reason?.loc) && typeof reason.msg === "string";

/** @returns {never} */
function cutOff() {
  throw new MilepostError(0, "bad_answer", "the hub's answer broke off");
}

/**
 * @param {Record<string, unknown>} answer
 * @returns {Submitted}
 */
function submitted({ jobId, token = null, stream }) {
  const isJob = typeof jobId === "string" || typeof jobId === "number";
  if (isJob && (token === null || typeof token === "string") && typeof stream === "string") {
    return { jobId, token, stream };
  }
  throw new MilepostError(0, "bad_answer", "the hub's answer names no job");
}
