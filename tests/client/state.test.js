import assert from "node:assert/strict";
import { test } from "node:test";
import { JobState } from "../../client/milepost_client/web/client/state.js";

const AT = "2026-01-01T00:00:00.000Z";

/** @param {object[]} payloads */
function reduced(payloads, options = {}) {
  const state = new JobState("1", options);
  for (const payload of payloads) state.apply(payload, AT);
  return state;
}

test("a view stays the same object until something changes", () => {
  const state = reduced([{ nodeId: 1, status: "running" }]);
  const { view } = state;
  assert.equal(state.view, view);
  state.apply({ status: "completed", run: 1 }, AT);
  assert.notEqual(state.view, view);
  const { view: ended } = state;
  assert.equal(state.apply({ nodeId: 1, status: "running" }, AT), "late");
  assert.equal(state.view, ended);
});

test("what has not changed keeps its identity", () => {
  const state = reduced([
    { nodeId: 1, status: "running" },
    { nodeId: 2, status: "running" },
    { kind: "log", message: "one" },
  ]);
  const before = state.view;
  state.apply({ nodeId: 2, status: "running", rowCount: 5 }, AT);
  const after = state.view;
  assert.equal(after.nodes[0], before.nodes[0]);
  assert.notEqual(after.nodes[1], before.nodes[1]);
  assert.equal(before.nodes[1].rowCount, undefined);
  assert.equal(after.logTail, before.logTail);
  assert.equal(after.artifacts, before.artifacts);
});

test("nobody can change a view", () => {
  const { view } = reduced([{ nodeId: 1, status: "running" }]);
  assert.throws(() => Object.assign(view, { status: "failed" }), TypeError);
  assert.throws(() => Object.assign(view.nodes[0], { status: "failed" }), TypeError);
  assert.throws(() => /** @type {unknown[]} */ (/** @type {unknown} */ (view.nodes)).push(1), TypeError);
});

test("what is no event changes nothing", () => {
  const state = reduced([{ nodeId: 1, status: "running" }]);
  const { view } = state;
  const strangers = [null, 1, "text", [], {}, { kind: "else", message: "m" }, { nodeId: 1, status: "queued" }];
  const unfit = [
    { message: 5 },
    { nodeId: {}, status: "running" },
    { nodeId: 1, status: "running", rowCount: "many" },
    { kind: "artifact", data: { name: "a" } },
    { kind: "plan", data: { nodes: [{ nodeName: "without an id" }] } },
    { kind: "plan", data: { nodes: [], edges: [[1]] } },
    { kind: "result" },
    { kind: "__proto__", message: "m" },
    { nodeId: 1, status: "failed", error: "text" },
  ];
  for (const payload of [...strangers, ...unfit]) assert.equal(state.apply(payload, AT), null, JSON.stringify(payload));
  assert.equal(state.view, view);
});

test("fields nobody knows may be anything", () => {
  const plan = { nodes: [{ nodeId: 1, status: 5, unit: {} }], extra: 1 };
  const state = new JobState("1");
  assert.equal(state.apply({ nodeId: 1, status: "running", level: 5, weight: "x" }, AT), "live");
  assert.equal(state.apply({ kind: "plan", data: plan }, AT), "live");
  assert.equal(state.apply({ kind: "log", message: "m", data: { level: "info", name: 5 } }, AT), "live");
  assert.equal(state.view.plan, plan);
});

test("what is kept is bounded, the oldest go first", () => {
  const nodes = reduced(Array.from({ length: 5_005 }, (_, nodeId) => ({ nodeId, status: "running" }))).view.nodes;
  assert.equal(nodes.length, 5_000);
  assert.equal(nodes[0].nodeId, 5);
  const lines = Array.from({ length: 250 }, (_, line) => ({ kind: "log", message: String(line) }));
  assert.equal(reduced(lines).view.logTail.length, 200);
  assert.deepEqual(
    reduced(lines, { logLines: 2 }).view.logTail.map((line) => line.message),
    ["248", "249"],
  );
  const artifact = (/** @type {number} */ name) => ({ kind: "artifact", data: { name: String(name), uri: "u" } });
  assert.equal(reduced(Array.from({ length: 1_005 }, (_, name) => artifact(name))).view.artifacts[0].name, "5");
  const long = "x".repeat(30_000);
  const errors = Array.from({ length: 100 }, (_, nodeId) => ({ nodeId, status: "failed", error: { message: long } }));
  assert.equal(reduced(errors).view.nodes.length, 34);
});

test("a job's id is what the hub makes of it", () => {
  const ids = ["42", 42, "042", "-1", "1e3", "a", String(2 ** 53), "9007199254740991"];
  assert.deepEqual(
    ids.map((id) => new JobState(id).view.jobId),
    [42, 42, "042", "-1", "1e3", "a", String(2 ** 53), 2 ** 53 - 1],
  );
});

test("a new run begins with nothing but the job's name", () => {
  const state = reduced([{ status: "running", name: "N" }, { nodeId: 1, status: "running" }, { status: "failed" }]);
  assert.equal(state.ended, true);
  state.apply({ status: "running", run: 2 }, AT);
  assert.deepEqual([state.run, state.ended, state.view.name, state.view.nodes], [2, false, "N", []]);
});

test("what is no snapshot is refused with a TypeError", () => {
  const { view } = reduced([{ kind: "plan", data: { nodes: [{ nodeId: 1 }] } }, { nodeId: 1, status: "running" }]);
  assert.deepEqual(JobState.ofSnapshot(view).view, view);
  const wrong = [
    { status: "unheard" },
    { run: 0 },
    { run: "1" },
    { nodes: null },
    { nodes: [{}] },
    { nodes: [{ nodeId: 1, rowCount: "many" }] },
    { artifacts: [{}] },
    { logTail: [{ message: 1 }] },
    { plan: {} },
    { truncated: 1 },
    { startedAt: "never" },
    { jobId: null },
    { fraction: "half" },
    { error: 1 },
  ];
  for (const fields of wrong) {
    assert.throws(() => JobState.ofSnapshot({ ...view, ...fields }), TypeError, JSON.stringify(fields));
  }
  for (const stranger of [null, undefined, 1, "text", [], {}]) {
    assert.throws(() => JobState.ofSnapshot(stranger), TypeError);
  }
});

test("a live event is a sign of life", () => {
  const stalled = { ...reduced([{ nodeId: 1, status: "running" }]).view, stalled: true };
  const state = JobState.ofSnapshot(stalled);
  assert.equal(state.view.stalled, true);
  state.apply({ nodeId: 1, status: "running" }, AT);
  assert.equal(state.view.stalled, false);
});
