import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed } from "../../client/milepost_client/web/client/feed.js";
import { JobState } from "../../client/milepost_client/web/client/state.js";

const NOW = "2026-01-01T00:00:00.000Z";

/**
 * @param {object[]} messages
 * @param {string} [after]
 */
function fed(messages, after) {
  const feed = new Feed("1", { logLines: 200 }, after);
  const told = messages.flatMap((message) => feed.receive(/** @type {any} */ (message), NOW));
  return { feed, told };
}

/**
 * @param {object} payload
 * @param {string} [cursor]
 */
const progress = (payload, cursor) => ({ type: "job.progress", jobId: 1, payload, cursor, at: cursor && NOW });

/** @param {object[]} payloads */
function snapshot(payloads, cursor = "9-9") {
  const state = new JobState(1);
  for (const payload of payloads) state.apply(payload, NOW);
  return { type: "job.snapshot", jobId: 1, snapshot: { ...state.view, durable: true }, cursor };
}

const NOBODY = { jobId: 1, status: "unknown", run: null, durable: false };
const UNKNOWN = { type: "job.snapshot", jobId: 1, snapshot: NOBODY };
const UNHEARD = { ...UNKNOWN, snapshot: { ...NOBODY, durable: true } };
const RUNNING = { nodeId: 1, status: "running", rowCount: 1 };

test("events change the state, move the cursor, and are told with their kind", () => {
  const { feed, told } = fed([progress(RUNNING, "1-1"), progress({ kind: "log", message: "hello" }, "2-2")]);
  assert.equal(feed.cursor, "2-2");
  assert.deepEqual(told.map(({ kind, cursor }) => [kind, cursor]), [["progress", "1-1"], ["log", "2-2"]]);
  assert.equal(feed.state.view.nodes[0].rowCount, 1);
});

test("an end is told as one; it is final unless another run follows", () => {
  const first = progress({ status: "failed", willRetry: true }, "1-1");
  const { feed, told } = fed([first, progress({ status: "completed", run: 2 }, "2-2")]);
  assert.deepEqual(told.map(({ end, final }) => [end, final]), [["failed", false], ["completed", true]]);
  assert.equal(feed.ended, true);
});

test("late events are not told and change nothing, but the cursor moves on", () => {
  const { feed, told } = fed([progress({ status: "completed" }, "1-1"), progress(RUNNING, "2-2")]);
  assert.equal(told.length, 1);
  assert.equal(feed.cursor, "2-2");
  assert.equal(feed.state.view.nodes.length, 0);
});

test("a gap is kept and told, and the snapshot behind it is the state", () => {
  const gap = { type: "job.gap", reason: "retention", from: "1-1" };
  const { feed, told } = fed([progress(RUNNING, "1-1"), gap, snapshot([{ ...RUNNING, rowCount: 5 }])]);
  assert.deepEqual(told.map(({ kind }) => kind), ["progress", "gap", "snapshot"]);
  assert.deepEqual(feed.gap, { reason: "retention", from: "1-1", to: null });
  assert.equal(feed.cursor, "9-9");
  assert.equal(feed.state.view.nodes[0].rowCount, 5);
});

test("without a log a reconnect keeps what was seen, and tells a gap once", () => {
  for (const gap of [[], [{ type: "job.gap", reason: "unavailable" }]]) {
    const { feed, told } = fed([UNKNOWN, progress(RUNNING), ...gap, UNKNOWN]);
    assert.deepEqual(told.map(({ kind }) => kind), ["snapshot", "progress", "gap", "snapshot"]);
    assert.equal(feed.gap?.reason, "unavailable");
    assert.equal(feed.state.view.status, "running");
    assert.equal(feed.cursor, null);
  }
});

test("a job nobody has heard of goes on from its first event, where there is a log", () => {
  const { feed } = fed([UNHEARD]);
  assert.equal(feed.cursor, "start");
  assert.equal(feed.synced, true);
  assert.equal(feed.state.view.status, "unknown");
});

test("a log that lives another life: an unknown job is unknown", () => {
  const { feed } = fed([progress(RUNNING, "1-1"), { type: "job.gap", reason: "epoch" }, UNHEARD]);
  assert.equal(feed.state.view.status, "unknown");
});

test("what is no message is passed over", () => {
  const none = { type: "job.snapshot", snapshot: { nodes: 7 } };
  const bad = [{}, { type: 7 }, { type: "job.snapshot" }, none, { type: "job.gap" }];
  const payloads = [null, 7, "text", [], {}, { status: 7 }, { kind: "other" }, { nodeId: {} }];
  const worse = payloads.map((payload) => progress(/** @type {any} */ (payload)));
  const { feed, told } = fed([...bad, ...worse, { type: "of-tomorrow", jobId: 1 }]);
  assert.deepEqual(told.map(({ kind }) => kind), ["gap"]);
  assert.equal(feed.state.view.status, "unknown");
});

test("it begins behind the cursor it is given", () => {
  assert.equal(fed([], "4-4").feed.cursor, "4-4");
});

test("an event of a kind that is not known yet is passed over, and the cursor moves on", () => {
  const { feed, told } = fed([progress(RUNNING, "1-1"), progress({ kind: "of-tomorrow", message: "hello" }, "2-2")]);
  assert.equal(told.length, 1);
  assert.equal(feed.cursor, "2-2");
});
