import { MilepostError } from "./errors.js";

/** @typedef {{ method?: string, body?: Blob, signal?: AbortSignal }} RequestOptions a body brings its own type */

/**
 * One request to the hub, with its token where no log of addresses has it. Rejects with MilepostError: `network` when
 * there was no answer, else the hub's own problem.
 * @param {{ fetch: typeof globalThis.fetch }} options
 * @param {string} url the hub's
 * @param {string} path what comes after `/api/jobs`
 * @param {string} token
 * @param {RequestOptions} [options]
 * @returns {Promise<Response>} a good one
 */
export async function request({ fetch }, url, path, token, options) {
  const headers = { Authorization: `Bearer ${token}` };
  /** @type {Response} */
  let response;
  try {
    response = await fetch(`${url}/api/jobs${path}`, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new MilepostError(0, "network", "the hub cannot be reached");
  }
  if (!response.ok) throw await problem(response);
  return response;
}

/**
 * Whether it is about what was asked for, and no more.
 * @param {MilepostError} error
 */
export const refusesOne = ({ code, status }) => code === "problem" && (status === 403 || status === 400);

/**
 * @param {Response} response
 * @returns {Promise<MilepostError>}
 */
async function problem(response) {
  const { status } = response;
  const ours = response.headers.get("content-type")?.includes("problem+json");
  const told = await response.json().catch(() => null);
  const words = ours && typeof told?.detail === "string" ? told.detail : `the answer was HTTP ${status}`;
  return new MilepostError(status, ours ? "problem" : "bad_answer", words, [told?.errors ?? []].flat());
}
