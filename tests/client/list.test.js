import assert from "node:assert/strict";
import { test } from "node:test";
import { List } from "../../client/milepost_client/web/client/list.js";

/**
 * @param {string | number} jobId
 * @param {string} startedAt
 */
const summary = (jobId, startedAt, status = "running") => ({ type: "job.summary", jobId, status, startedAt });
const SUBSCRIBED = { type: "subscribed", jobId: "*" };
const LISTED = { type: "listed", jobId: "*", count: 2 };

/** @param {object[]} messages */
function told(messages, list = new List()) {
  const changes = messages.map((message) => list.receive(/** @type {any} */ (message)));
  return { list, changes };
}

test("newest first; of the same moment by their ids, as the hub has it", () => {
  const days = { 1: "2026-01-01", b: "2026-01-03", a: "2026-01-03", 2: "2026-01-02" };
  const { list } = told(Object.entries(days).map(([jobId, day]) => summary(jobId, day)));
  assert.deepEqual(list.list.map(({ jobId }) => jobId), ["b", "a", "2", "1"]);
});

test("the list stays the same array until something changes", () => {
  const { list } = told([summary(1, "2026-01-01")]);
  const before = list.list;
  assert.equal(list.list, before);
  assert.deepEqual(list.receive(summary(1, "2026-01-01", "completed")), new Set([1]));
  assert.notEqual(list.list, before);
  assert.equal(before[0].status, "running");
  assert.equal(list.get("1")?.status, "completed");
});

test("it is synced when it was told as a whole; what a later telling lacks is gone", () => {
  const { list } = told([SUBSCRIBED, summary(1, "2026-01-01"), summary(2, "2026-01-02")]);
  assert.equal(list.synced, false);
  list.receive(LISTED);
  assert.equal(list.synced, true);
  const { changes } = told([SUBSCRIBED, summary(2, "2026-01-02"), LISTED], list);
  assert.deepEqual(changes.at(-1), new Set([1]));
  assert.deepEqual([list.size, list.get(1)], [1, undefined]);
});

test("what is no summary is passed over", () => {
  const type = "job.summary";
  const { changes } = told([{ type }, { type, jobId: {}, status: "running" }, { type: "other" }, {}]);
  assert.deepEqual(changes, [null, null, null, null]);
});
