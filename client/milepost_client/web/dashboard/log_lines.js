// The lines of a log as the page keeps them: bounded, and put together from what comes live and from snapshots. Pure.

/**
 * @typedef {import("../client/shapes.js").LogLine} LogLine
 * @typedef {{gap: string}} Mark where lines are missing, and why
 * @typedef {LogLine | Mark} Entry
 */

/** Lines kept; beyond, the oldest go. */
export const MOST = 2_000;

/** What happened between the last line and this snapshot is not known. */
const BETWEEN = "lines in between are not known here";

/**
 * What a snapshot's lines add to those that are there: all behind the last one that both have. Where they have none in
 * common, something may be missing, which is marked.
 * @param {readonly Entry[]} entries
 * @param {readonly LogLine[]} tail oldest first
 * @returns {Entry[]} to be put behind `entries`
 */
export function added(entries, tail) {
  const last = entries.at(-1);
  if (last === undefined) return [...tail];
  const line = entries.findLast((entry) => !("gap" in entry));
  if (line === undefined) return [...tail];
  const index = tail.findLastIndex((other) => isSame(/** @type {LogLine} */ (line), other));
  if (index >= 0) return tail.slice(index + 1);
  const news = tail.filter(({ at }) => at > /** @type {LogLine} */ (line).at);
  return news.length === 0 || "gap" in last ? news : [{ gap: BETWEEN }, ...news];
}

/**
 * @param {LogLine} one
 * @param {LogLine} other
 */
const isSame = (one, other) => one.at === other.at && one.message === other.message && one.level === other.level;
