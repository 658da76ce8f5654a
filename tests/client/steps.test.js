// A job's nodes as they are shown.

import assert from "node:assert/strict";
import { test } from "node:test";

import { JobState } from "../../client/milepost_client/web/client/state.js";
import { stepsOf } from "../../client/milepost_client/web/client/view/steps.js";
import { sinceStart } from "../../client/milepost_client/web/client/view/paces.js";

/** @param {object[]} events */
function viewOf(...events) {
  const state = new JobState(1);
  for (const event of events) state.apply(event, "2026-01-01T00:00:00Z");
  return state.view;
}

const PLAN = { kind: "plan", data: { nodes: [{ nodeId: 1, nodeName: "Load" }, { nodeId: "1" }, { nodeId: 2 }], edges: [[1, 2]] } };

test("the plan's nodes come in its order, then those nobody had planned", () => {
  const steps = stepsOf(viewOf({ nodeId: 9, status: "running" }, PLAN, { nodeId: 2, status: "completed" }));
  assert.deepEqual(
    steps.map(({ id, name, state }) => [id, name, state]),
    [
      [1, "Load", "idle"],
      ["1", "node 1", "idle"],
      [2, "node 2", "completed"],
      [9, "node 9", "running"],
    ],
  );
});

test("a node that never ended is not shown as running once its job has ended", () => {
  const [step] = stepsOf(viewOf({ nodeId: 1, status: "running" }, { status: "failed" }));
  assert.equal(step.state, "unknown");
});

test("a job that speaks seldom has the pace of its whole run", () => {
  const job = { fraction: 0.25, startedAt: "2026-01-01T00:00:00Z" };
  assert.deepEqual(sinceStart(job, Date.parse("2026-01-01T00:01:40Z")), { perSecond: 0.0025, left: 300_000 });
  assert.deepEqual(sinceStart({ fraction: 0, startedAt: job.startedAt }, Date.now()), { perSecond: null, left: null });
});
