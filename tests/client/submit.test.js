// Jobs submitted from a page, to a real hub with somebody behind it who runs them.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Milepost, MilepostError } from "../../client/milepost_client/web/client/milepost.js";
import { submit, submitAgain, submittedAs } from "../../client/milepost_client/web/client/submit.js";
import { QUICK, behind } from "./behind.js";
import { Service, tenant, token, until } from "./service.js";

const service = new Service({ takesJobs: true });
before(() => service.start());
after(() => service.close());

/**
 * @param {import("node:test").TestContext} context
 * @param {object} [claims]
 */
const client = (context, claims = { scope: "watch submit" }) =>
  behind(context, service, { token: token(tenant(), claims) });

/** @param {Milepost} hub @param {string | number} id */
const ended = (hub, id) => {
  const job = hub.job(id);
  return until(() => job.ended && job.state, `${id} has ended`);
};

test("a job is submitted, and watched with the token that came for it, which shows no other", async (context) => {
  const { hub } = await client(context);
  const { jobId, token: own, stream } = await submit(hub, "count", { rows: 3 });
  assert.equal(stream, `/api/jobs/${jobId}/stream`);
  const watching = new Milepost(service.url, { ...QUICK, token: own ?? "" });
  context.after(() => watching.close());
  const { status, result } = await ended(watching, jobId);
  assert.deepEqual([status, result], ["completed", { rows: 3 }]);
  assert.deepEqual([watching.grant?.jobs, watching.grant?.scope], [[jobId], ["watch"]]);
  await assert.rejects(submit(watching, "count", { rows: 3 }), { status: 403 });
});

test("no handle and no connection is needed for it", async (context) => {
  const { hub, proxy } = await client(context);
  await submit(hub, "count", { rows: 1 });
  assert.equal(hub.status.state, "closed");
  assert.deepEqual(proxy.requests, ["POST /api/jobs"]);
});

test("the same key is the same job, another one another", async (context) => {
  const { hub } = await client(context);
  const jobs = [];
  for (const key of ["a", "a", "b", undefined, undefined]) jobs.push((await submit(hub, "count", { rows: 1 }, { key })).jobId);
  assert.equal(jobs[0], jobs[1]);
  assert.equal(new Set(jobs).size, 4);
});

test("a job is submitted again as another one with the same payload", async (context) => {
  const { hub } = await client(context);
  const first = await submit(hub, "count", { rows: 5, text: "äß\u2028" });
  const second = await submitAgain(hub, first.jobId);
  assert.notEqual(second.jobId, first.jobId);
  assert.deepEqual((await ended(hub, second.jobId)).result, { rows: 5, text: "äß\u2028" });
  assert.equal(await submittedAs(hub, second.jobId), "count");
});

test("a job that was not submitted here has no name, and cannot be submitted again", async (context) => {
  const { hub } = await client(context);
  assert.equal(await submittedAs(hub, 42), null);
  await assert.rejects(submitAgain(hub, 42), { status: 404, code: "problem" });
});

test("a refusal is in the hub's words, with each reason", async (context) => {
  const { hub } = await client(context);
  await assert.rejects(submit(hub, "count", { rows: "many" }), (error) => {
    assert(error instanceof MilepostError);
    assert.deepEqual([error.status, error.code, error.message], [422, "problem", "the payload does not fit"]);
    assert.deepEqual(error.reasons, [{ loc: ["payload", "rows"], msg: "it is to be a number from 1" }]);
    return true;
  });
  await assert.rejects(submit(hub, "unheard_of", {}), { status: 404, message: "there is no handler unheard_of", reasons: [] });
  await assert.rejects(submit(hub, "count", undefined), { status: 422 });
  await assert.rejects(submit(hub, "count", 1n), TypeError);
});

test("a problem that is not the hub's own has no reasons, whatever it calls errors", async (context) => {
  const { hub, proxy } = await client(context);
  proxy.unavailable = "/api/jobs";
  await assert.rejects(submit(hub, "count", { rows: 1 }), { status: 503, message: "the log is away", reasons: [] });
});

test("a token without the scope is refused, and one of certain jobs", async (context) => {
  for (const claims of [{ scope: "watch cancel" }, { scope: "watch submit", jobs: [1] }]) {
    const { hub } = await client(context, claims);
    await assert.rejects(submit(hub, "count", { rows: 1 }), { status: 403, code: "problem" });
  }
});

test("a hub that cannot take jobs for now says so, and one that is away is no answer", async (context) => {
  const { hub } = await client(context);
  await assert.rejects(submit(hub, "absent", {}), { status: 503, code: "problem", reasons: [] });
  const away = new Milepost("http://127.0.0.1:9", { token: token(tenant()) });
  await assert.rejects(submit(away, "count", { rows: 1 }), { status: 0, code: "network" });
  await assert.rejects(submittedAs(away, 1), { status: 0, code: "network" });
});

test("an answer that is lost is asked for once more with the same key: one job", async (context) => {
  const { hub, proxy } = await client(context);
  const key = "only-once";
  const before = hub.jobs();
  await until(() => before.synced, "the list");
  proxy.dropAnswers = true;
  await assert.rejects(submit(hub, "count", { rows: 1 }, { key }), { status: 0 });
  proxy.dropAnswers = false;
  const { jobId } = await submit(hub, "count", { rows: 1 }, { key });
  await ended(hub, jobId);
  await until(() => before.get(jobId)?.status === "completed", "it is in the list");
  assert.equal(before.size, 1);
});

test("aborted, it rejects with the signal's reason", async (context) => {
  const { hub } = await client(context);
  const reason = new Error("the page was left");
  await assert.rejects(submit(hub, "count", { rows: 1 }, { signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(submitAgain(hub, 1, { signal: AbortSignal.abort(reason) }), reason);
});
