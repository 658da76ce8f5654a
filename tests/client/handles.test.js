// Handles, tokens and the connection's own state where they meet: what is easily told twice, never, or wrongly.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Milepost } from "../../client/milepost_client/web/client/milepost.js";
import { WebSocket, WebSocketServer, behind } from "./behind.js";
import { Service, tenant, token, until } from "./service.js";

/** @import { MilepostError, Options } from "../../client/milepost_client/web/client/milepost.js" */

const RUNGS = /** @type {const} */ (["websocket", "sse", "polling"]);
const END = { status: "completed" };
const service = new Service({ arguments: ["--heartbeat-interval", "0.2"] });
before(() => service.start());
after(() => service.close());

/**
 * @param {import("node:test").TestContext} context
 * @param {Partial<Options>} [options]
 */
const client = (context, options) => behind(context, service, options);

/** @param {EventTarget} handle */
function errorsOf(handle) {
  /** @type {MilepostError[]} */
  const errors = [];
  handle.addEventListener("error", (event) => errors.push(/** @type {any} */ (event).error));
  return errors;
}

/**
 * Close it from within its own status event, the first time that this is so.
 * @param {Milepost} hub
 * @param {(status: Milepost["status"]) => unknown} when
 */
function closeWhen(hub, when) {
  hub.addEventListener("status", () => hub.status.state !== "closed" && when(hub.status) && hub.close());
  return until(() => hub.status.state === "closed", "closed");
}

/** Two more turns of everything that a timer left behind could do. @param {Milepost} hub */
async function settled(hub) {
  /** @type {string[]} */
  const told = [];
  hub.addEventListener("status", () => told.push(hub.status.state));
  await new Promise((resolve) => setTimeout(resolve, 500));
  return told;
}

test("closed by a listener of its status: it stays closed, whatever was about to be tried", async (context) => {
  const lost = await client(context);
  lost.hub.job(1);
  await until(() => lost.hub.status.state === "connected", "connected");
  const gone = closeWhen(lost.hub, ({ retryAt }) => retryAt !== null);
  lost.proxy.cut();
  await gone;
  const low = await client(context, { climb: 50 });
  low.proxy.dropUpgrade = true;
  low.hub.job(1);
  await closeWhen(low.hub, ({ state }) => state === "connected");
  const asked = low.proxy.requests.length;
  const give = () => (give.times++ ? Promise.reject(new Error("signed out")) : token(tenant(), { exp: soon() }));
  give.times = 0;
  const soon = () => Date.now() / 1000 + 2;
  const signed = await client(context, { token: give });
  signed.hub.job(1);
  await closeWhen(signed.hub, ({ reason }) => reason === "signed out");
  const times = give.times;
  assert.deepEqual(await Promise.all([settled(lost.hub), settled(low.hub), settled(signed.hub)]), [[], [], []]);
  assert.deepEqual([low.proxy.requests.length, give.times], [asked, times]);
});

test("a better token by setToken: what the old one did not allow is asked for again", async (context) => {
  for (const transport of RUNGS) {
    const owner = tenant();
    const { hub } = await client(context, { transports: [transport], token: token(owner, { jobs: [1] }) });
    const [good, bad] = [hub.job(1), hub.job(2)];
    const errors = errorsOf(bad);
    await until(() => errors.length && good.synced, `${transport}: refused`);
    hub.setToken(async () => token(owner));
    await service.publish(owner, 2, END);
    await until(() => bad.ended, `${transport}: allowed`);
    assert.equal(errors.length, 1);
  }
});

test("a newer token that allows less ends all of a job's handles, and the list, by name", async (context) => {
  const { hub, owner } = await client(context);
  const [one, two, jobs] = [hub.job(1), hub.job(1), hub.jobs()];
  const errors = [one, two, jobs].map(errorsOf);
  await until(() => one.synced && jobs.synced, "synced");
  hub.setToken(token(owner, { scope: "cancel" }));
  await until(() => errors.every(({ length }) => length), "told");
  assert.deepEqual(errors.map(([{ code }]) => code), ["forbidden", "forbidden", "forbidden"]);
});

test("250 handles on one socket: the hub does not close it, and tells those that are too many", async (context) => {
  const { hub, owner, proxy } = await client(context);
  const handles = Array.from({ length: 250 }, (_, id) => hub.job(id));
  const errors = handles.map(errorsOf);
  const answered = () => handles.every(({ synced }, at) => synced || errors[at].length);
  await until(answered, "each is answered", 30_000);
  assert.equal(handles.filter(({ synced }) => synced).length, 100);
  assert.equal(errors.flat().every(({ code }) => code === "too_many_subscriptions"), true);
  assert.deepEqual([hub.status.state, proxy.requests.length], ["connected", 1]);
  const last = /** @type {typeof handles[0]} */ (handles.find(({ synced }) => !synced));
  handles[0].close();
  await until(() => last.synced, "a place has become free for the first of them");
  await service.publish(owner, last.id, END);
  await until(() => last.ended, "the end");
});

test("one job taken and let go 300 times in a row: still the same socket, and it is followed", async (context) => {
  const { hub, owner, proxy } = await client(context);
  const other = hub.job(2);
  await until(() => other.synced, "synced");
  for (let turn = 0; turn < 300; turn++) {
    hub.job(1).close();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const job = hub.job(1);
  await service.publish(owner, 1, END);
  await until(() => job.ended, "the end");
  assert.deepEqual([hub.status.state, proxy.requests.length], ["connected", 1]);
});

test("a handle opened after a refusal is told of it too, once, and not when it was closed", async (context) => {
  const { hub } = await client(context, { token: "no.good.token" });
  hub.job(1);
  await until(() => hub.status.state === "refused", "refused");
  const errors = [hub.job(1), hub.job(2), hub.jobs()].map(errorsOf);
  const closed = hub.job(3);
  const none = errorsOf(closed);
  closed.close();
  await until(() => errors.every(({ length }) => length), "told");
  assert.deepEqual(errors.map(({ length }) => length), [1, 1, 1]);
  assert.equal(none.length, 0);
});

test("what is no job's id fails alone, on every rung, and is never asked for", async (context) => {
  for (const transport of RUNGS) {
    const { hub, owner, proxy } = await client(context, { transports: [transport] });
    const bad = ["..", "a/b", "a b", "a?b", "", "x".repeat(65), "*", "täst", "1\n"].map((id) => hub.job(id));
    const errors = bad.map(errorsOf);
    const [good, jobs] = [hub.job("__proto__"), hub.jobs()];
    await service.publish(owner, "__proto__", { nodeId: "__proto__", status: "running", __proto__: null }, END);
    await until(() => good.ended && jobs.get("__proto__"), `${transport}: the good one's end`);
    assert.deepEqual(errors.map(([error]) => error?.code), Array(bad.length).fill("bad_id"));
    assert.equal(good.state.nodes[0].nodeId, "__proto__");
    await assert.rejects(bad[0].cancel(), { code: "bad_id" });
    await assert.rejects(async () => void (await bad[0][Symbol.asyncIterator]().next()), { code: "bad_id" });
    assert.equal(hub.status.state, "connected");
    assert.equal(proxy.requests.every((line) => /__proto__|\/ws|jobs\?|\*\/stream/.test(line)), true);
  }
});

test("a handle closed in the middle of a message hears no more of it", async (context) => {
  const { hub, owner } = await client(context);
  const [job, other, jobs] = [hub.job(1), hub.job(1), hub.jobs()];
  await until(() => job.synced && jobs.synced, "synced");
  /** @type {string[]} */
  const told = [];
  for (const name of ["event", "job", "end", "change"]) job.addEventListener(name, () => told.push(name));
  other.addEventListener("change", () => told.push("other"));
  job.addEventListener("event", () => (job.close(), other.close()));
  await service.publish(owner, 1, END);
  await until(() => jobs.get(1)?.status === "completed", "the end");
  assert.deepEqual(told, ["event"]);
});

test("polling: a job nobody has heard of is told once, not at every turn", async (context) => {
  const { hub, owner, proxy } = await client(context, { transports: ["polling"] });
  const job = hub.job(1);
  let snapshots = 0;
  job.addEventListener("snapshot", () => snapshots++);
  await until(() => proxy.requests.length > 5, "some turns");
  const { state } = job;
  assert.equal(snapshots, 1);
  await until(() => proxy.requests.length > 8, "more turns");
  assert.equal(job.state, state);
  await service.publish(owner, 1, { fraction: 0.5 }, END);
  await until(() => job.ended, "the end");
});

test("polling: a list whose question failed still learns of every end", async (context) => {
  const { hub, owner, proxy } = await client(context, { transports: ["polling"] });
  await service.publish(owner, "old", { kind: "job", status: "running" });
  const jobs = hub.jobs();
  await until(() => jobs.get("old") && jobs.synced, "the list");
  proxy.unavailable = "status=queued";
  const asked = proxy.requests.length;
  await until(() => proxy.requests.length > asked + 6, "three turns that failed in the middle");
  await service.publish(owner, "old", END);
  // of those that may be among the newest, it is none
  for (let id = 0; id < 60; id++) await service.publish(owner, id, END);
  const headers = { Authorization: `Bearer ${token(owner)}` };
  const listed = async () => (await fetch(`${service.url}/api/jobs?status=completed&q=old`, { headers })).json();
  await until(async () => (await listed()).jobs.length, "the hub's list has its end");
  proxy.unavailable = "";
  await until(() => jobs.get("old")?.status === "completed", "its end");
});

test("polling: connected is said when an answer came, not while the hub answers that it cannot", async (context) => {
  const { hub, proxy } = await client(context, { transports: ["polling"], maxBackoff: 50 });
  proxy.unavailable = "/api/";
  /** @type {string[]} */
  const states = [];
  hub.addEventListener("status", () => states.push(hub.status.state));
  const job = hub.job(1);
  await until(() => proxy.requests.length > 3, "some tries");
  assert.equal(states.includes("connected"), false);
  assert.deepEqual([hub.status.code ?? 503, hub.status.reason], [503, "the log is away"]);
  proxy.unavailable = "";
  await until(() => hub.status.state === "connected" && job.synced, "connected");
  proxy.unavailable = "/api/";
  await until(() => hub.status.upstream === "down", "the log is away again");
  assert.equal(hub.status.state, "connected");
});

test("jobs that have all ended do not keep a lower rung from connecting again", async (context) => {
  for (const transport of /** @type {const} */ (["sse", "polling"])) {
    const { hub, owner } = await client(context, { transports: [transport], connectTimeout: 1_000 });
    const job = hub.job(1);
    await service.publish(owner, 1, END);
    await until(() => job.ended, `${transport}: the end`);
    const other = tenant();
    await service.publish(other, 1, { fraction: 0.5 });
    hub.setToken(token(other));
    await until(() => hub.status.state === "connected" && hub.grant?.tenant === other, `${transport}: connected`);
    await until(() => job.state.fraction === 0.5, `${transport}: the other tenant's job`);
  }
});

test("cancel answers also when nobody does, and with a token of its time", async (context) => {
  const { hub, proxy, owner } = await client(context, { idle: 300 });
  const job = hub.job(1);
  await until(() => job.synced, "synced");
  proxy.hole = true;
  await assert.rejects(job.cancel(), { code: "network" });
  proxy.hole = false;
  let asked = 0;
  const give = () => token(owner, { scope: "watch cancel", exp: Date.now() / 1000 + (asked++ ? 3600 : 1) });
  const late = await client(context, { token: give });
  const handle = late.hub.job(1);
  await until(() => handle.synced, "synced");
  late.hub.close();
  await until(() => Date.now() / 1000 > (late.hub.grant?.expiresAt ?? 0) / 1000, "the token has expired");
  await assert.rejects(handle.cancel(), { status: 404 });
});

test("a hub that lets in and closes at once is asked less and less often", async (context) => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  context.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  server.on("connection", (/** @type {any} */ socket) => {
    socket.on("message", () => (socket.send('{"type":"authenticated"}'), socket.close(4001)));
  });
  const url = `http://127.0.0.1:${server.address().port}`;
  const { random } = Math;
  Math.random = () => 0.999;
  context.after(() => (Math.random = random));
  const rung = { transports: /** @type {const} */ (["websocket"]), WebSocket };
  const hub = new Milepost(url, { token: "a.b.c", ...rung, minBackoff: 1, maxBackoff: 1_000 });
  context.after(() => hub.close());
  /** @type {number[]} */
  const waits = [];
  hub.addEventListener("status", () => hub.status.retryAt && waits.push(hub.status.retryAt - Date.now()));
  hub.job(1);
  await until(() => waits.length >= 7, "seven closes");
  assert.equal(waits[6] > 32, true);
});

test("an error of long ago is not the reason why a connection is lost now", async (context) => {
  const { hub, proxy, owner } = await client(context, { token: () => token(owners[0], { jobs: [1] }) });
  const owners = [owner];
  const [good, bad] = [hub.job(1), hub.job(2)];
  const errors = errorsOf(bad);
  await until(() => errors.length && good.synced, "refused alone");
  hub.setToken(`${token(owner)}x`);
  await until(() => hub.status.reason, "the token is refused");
  await service.publish(owner, 1, { fraction: 0.5 });
  await until(() => good.state.fraction === 0.5, "an event");
  hub.setToken(token(owner));
  proxy.cut();
  /** @type {unknown[]} */
  const reasons = [];
  hub.addEventListener("status", () => hub.status.retryAt && reasons.push(hub.status.reason));
  await until(() => reasons.length, "lost");
  assert.deepEqual(reasons, ["the connection was lost"]);
});

test("`after` counts for the first handle, also of a job that lingers", async (context) => {
  const { hub, owner } = await client(context, { linger: 60_000 });
  await service.publish(owner, 1, { fraction: 0.1 }, { fraction: 0.2 });
  const first = hub.job(1);
  await until(() => first.synced, "synced");
  first.close();
  const second = hub.job(1, { after: "start" });
  /** @type {number[]} */
  const seen = [];
  second.addEventListener("progress", (event) => seen.push(/** @type {any} */ (event).payload.fraction));
  await until(() => seen.length === 2, "everything that is stored");
  const third = hub.job(1, { after: "start" });
  assert.equal(third.state, second.state);
  await service.publish(owner, 1, END);
  await until(() => third.ended, "the end");
  assert.deepEqual(seen, [0.1, 0.2]);
});

test("the hub's time is known as soon as it has let in, and the token's end with it", async (context) => {
  const { now } = Date;
  Date.now = () => now() + 7_200_000;
  context.after(() => (Date.now = now));
  const owner = tenant();
  let asked = 0;
  // to this machine it is over before it has come
  const give = () => token(owner, { exp: now() / 1000 + (asked++ ? 3600 : 4) });
  const { hub, proxy } = await client(context, { token: give });
  const job = hub.job(1);
  await until(() => job.synced, "synced");
  assert.equal(Math.abs(hub.now() - now()) < 1_000, true);
  await until(() => (hub.grant?.expiresAt ?? 0) > now() + 60_000, "renewed");
  assert.equal(proxy.requests.length, 1);
});

test("two tokens one after the other: the last one counts, however slow the first", async (context) => {
  const owner = tenant();
  const { hub } = await client(context, { token: token(owner) });
  const job = hub.job(1);
  await until(() => job.synced, "synced");
  /** @type {(token: string) => void} */
  let answer = () => {};
  hub.setToken(() => new Promise((resolve) => (answer = resolve)));
  hub.setToken(token(owner, { scope: "watch cancel" }));
  await until(() => hub.grant?.scope.includes("cancel"), "the second");
  answer(token(owner, { scope: "watch" }));
  await service.publish(owner, 1, END);
  await until(() => job.ended, "the end");
  assert.deepEqual(hub.grant?.scope, ["watch", "cancel"]);
});
