// Places in the dashboard as the URL's fragment has them: what is looked at can be shared, and Back works. Pure.

/**
 * @typedef {{page: "list", query: string, status: string}} ListPlace `status` is "" for all
 * @typedef {{page: "job", job: string}} JobPlace
 * @typedef {ListPlace | JobPlace} Place
 */

/** What a job's id may be: what is not, is no job's page. */
const JOB = /^[A-Za-z0-9_-]{1,64}$/;

/** The states that the list can be filtered by. */
export const FILTERS = Object.freeze(["queued", "running", "stalled", "failed", "completed", "cancelled"]);

/**
 * The place a fragment names, and the token it carries, if any: `#/`, `#/?q=import&status=failed`, `#/jobs/42`, and
 * `#token=…` with or without `&job=42`.
 * @param {string} fragment with or without its `#`
 * @returns {{place: Place, token: string | null}}
 */
export function parse(fragment) {
  const text = fragment.replace(/^#/, "");
  const isPath = text === "" || text.startsWith("/");
  const cut = text.indexOf("?");
  const path = isPath ? (cut < 0 ? text : text.slice(0, cut)) : "";
  const asked = new URLSearchParams(isPath ? (cut < 0 ? "" : text.slice(cut + 1)) : text);
  const job = /^\/jobs\/([^/]+)$/.exec(path)?.[1] ?? asked.get("job") ?? "";
  return { place: JOB.test(job) ? { page: "job", job } : listPlace(asked), token: asked.get("token") || null };
}

/**
 * @param {URLSearchParams} asked
 * @returns {ListPlace}
 */
function listPlace(asked) {
  const status = asked.get("status") ?? "";
  return { page: "list", query: asked.get("q") ?? "", status: FILTERS.includes(status) ? status : "" };
}

/**
 * The fragment that names a place.
 * @param {Place} place
 * @returns {string}
 */
export function write(place) {
  if (place.page === "job") return `#/jobs/${place.job}`;
  const asked = new URLSearchParams();
  if (place.query) asked.set("q", place.query);
  if (place.status) asked.set("status", place.status);
  const words = asked.toString();
  return words ? `#/?${words}` : "#/";
}
