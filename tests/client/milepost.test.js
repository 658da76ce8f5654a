// The client against a real hub: what a caller sees, on each rung and across faults.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MilepostError } from "../../client/milepost_client/web/client/milepost.js";
import { behind } from "./behind.js";
import { Service, tenant, token, until } from "./service.js";

/** @import { Milepost, Options } from "../../client/milepost_client/web/client/milepost.js" */

const service = new Service({ arguments: ["--heartbeat-interval", "0.2"] });
before(() => service.start());
after(() => service.close());

/**
 * @param {import("node:test").TestContext} context
 * @param {Partial<Options>} [options]
 */
const client = (context, options) => behind(context, service, options);

/** @param {number} count */
function events(count, from = 0) {
  const rows = Array.from({ length: count }, (_, at) => from + at);
  return rows.map((rowCount) => ({ nodeId: 1, status: "running", rowCount, total: 1000 }));
}

/**
 * The rows that a job tells from now on.
 * @param {import("../../client/milepost_client/web/client/job.js").Job} job
 */
function rows(job) {
  /** @type {number[]} */
  const seen = [];
  job.addEventListener("progress", (event) => seen.push(/** @type {any} */ (event).payload.rowCount));
  return seen;
}

/**
 * The values that a field of the status has from now on.
 * @param {Milepost} hub
 * @param {keyof Milepost["status"]} field
 */
function statuses(hub, field) {
  /** @type {unknown[]} */
  const told = [];
  hub.addEventListener("status", () => hub.status[field] !== told.at(-1) && told.push(hub.status[field]));
  return told;
}

const END = { status: "completed" };

for (const transport of /** @type {const} */ (["websocket", "sse", "polling"])) {
  test(`${transport}: every event once, in order, across five cuts`, async (context) => {
    const { proxy, hub, owner } = await client(context, { transports: [transport] });
    const job = hub.job(1);
    const seen = rows(job);
    await service.publish(owner, 1, ...events(1));
    await until(() => job.cursor && job.cursor !== "start", "the first cursor");
    for (let cut = 0; cut < 5; cut++) {
      await service.publish(owner, 1, ...events(50, 1 + cut * 100));
      await until(() => job.state.nodes[0]?.rowCount === 50 + cut * 100, "the events before the cut");
      proxy.cut();
      await service.publish(owner, 1, ...events(50, 51 + cut * 100));
    }
    await service.publish(owner, 1, END);
    await until(() => job.ended, "the end");
    assert.deepEqual(seen.filter((row) => row > 0), events(500, 1).map(({ rowCount }) => rowCount));
    assert.equal(job.gap, null);
    assert.equal(job.state.status, "completed");
    assert.equal(proxy.requests.some((line) => line.includes("token")), false, "no token in an address");
  });
}

test("a proxy that drops upgrades and keeps streams brings it to polling; then it climbs again", async (context) => {
  const { proxy, hub, owner } = await client(context, { connectTimeout: 1_000, climb: 50 });
  Object.assign(proxy, { dropUpgrade: true, bufferStreams: true });
  const transports = statuses(hub, "transport");
  const job = hub.job(1);
  const jobs = hub.jobs();
  const seen = rows(job);
  await until(() => job.synced && jobs.synced && hub.status.transport === "polling", "polling works");
  await service.publish(owner, 1, ...events(10));
  await until(() => seen.at(-1) === 9, "polling brings them");
  await until(() => jobs.get(1), "and the list");
  Object.assign(proxy, { bufferStreams: false });
  await service.publish(owner, 1, ...events(10, 10));
  await until(() => hub.status.transport === "sse", "SSE works again");
  await service.publish(owner, 1, ...events(10, 20));
  Object.assign(proxy, { dropUpgrade: false });
  await until(() => hub.status.transport === "websocket", "the WebSocket works again");
  await service.publish(owner, 1, ...events(10, 30), END);
  await until(() => job.ended, "the end");
  await until(() => jobs.get(1)?.status === "completed", "the end in the list");
  const first = seen[0];
  assert.deepEqual(seen, events(40 - first, first).map(({ rowCount }) => rowCount));
  assert.deepEqual([...new Set(transports.filter(Boolean))], ["polling", "sse", "websocket"]);
});

test("without a WebSocket to be had it is SSE at once", async (context) => {
  const { hub, owner } = await client(context, { WebSocket: undefined });
  const job = hub.job(1);
  await service.publish(owner, 1, ...events(1), END);
  await until(() => job.ended, "the end");
  assert.equal(hub.status.transport, "sse");
});

test("more jobs than there may be streams: the rest is polled", async (context) => {
  const { hub, owner, proxy } = await client(context, { transports: ["sse"], maxStreams: 2 });
  const handles = Array.from({ length: 5 }, (_, id) => hub.job(id));
  for (const { id } of handles) await service.publish(owner, id, ...events(3));
  await until(() => handles.every(({ state }) => state.nodes[0]?.rowCount === 2), "all of them");
  for (const { id } of handles) await service.publish(owner, id, END);
  await until(() => handles.every(({ ended }) => ended), "all ends");
  assert.equal(new Set(proxy.requests.filter((line) => line.includes("/events"))).size > 0, true);
});

test("a black hole is left after `idle`, and nothing is missing", async (context) => {
  const on = async (/** @type {"websocket" | "sse" | "polling"} */ transport) => {
    const { proxy, hub, owner } = await client(context, { transports: [transport], idle: 500, connectTimeout: 500 });
    const job = hub.job(1);
    const seen = rows(job);
    await service.publish(owner, 1, ...events(1));
    await until(() => job.cursor && job.cursor !== "start", "the first");
    proxy.hole = true;
    await service.publish(owner, 1, ...events(5, 1));
    await until(() => hub.status.state === "reconnecting", `${transport}: noticed`);
    proxy.hole = false;
    await service.publish(owner, 1, END);
    await until(() => job.ended, `${transport}: the end`);
    assert.deepEqual(seen.filter((row) => row > 0), [1, 2, 3, 4, 5]);
  };
  await Promise.all([on("websocket"), on("sse"), on("polling")]);
});

test("a healthy job that is silent for long causes no reconnect", async (context) => {
  const on = async (/** @type {"websocket" | "sse" | "polling"} */ transport) => {
    const { proxy, hub, owner } = await client(context, { transports: [transport], idle: 1_500 });
    const job = hub.job(1);
    await service.publish(owner, 1, ...events(1));
    await until(() => job.cursor && job.cursor !== "start", "the first");
    const since = Date.now();
    await until(() => (hub.heardAt ?? 0) - since > 3_000, "twice `idle` passed with heartbeats");
    assert.equal(proxy.requests.length, 1, transport);
  };
  await Promise.all([on("websocket"), on("sse")]);
});

test("a refused token: no other try, the hub's words, and handles that say so", async (context) => {
  for (const transport of /** @type {const} */ (["websocket", "sse", "polling"])) {
    const { proxy, hub } = await client(context, { transports: [transport], token: "no.good.token" });
    const states = statuses(hub, "state");
    const job = hub.job(1);
    await assert.rejects(async () => void (await job[Symbol.asyncIterator]().next()), MilepostError);
    const { state, reason, code, retryAt } = hub.status;
    assert.deepEqual([state, code, retryAt], ["refused", transport === "websocket" ? 4500 : 401, null]);
    assert.match(String(reason), /token/);
    assert.deepEqual(states, ["connecting", "refused"]);
    assert.equal(proxy.requests.length, 1);
  }
});

test("a better token after a refusal: everything goes on", async (context) => {
  const { hub, owner } = await client(context, { token: "no.good.token" });
  const job = hub.job(1);
  await until(() => hub.status.state === "refused", "refused");
  hub.setToken(token(owner));
  await service.publish(owner, 1, END);
  await until(() => job.ended, "the end");
});

test("a token of another tenant: another connection, with that tenant's jobs", async (context) => {
  const { hub } = await client(context);
  const job = hub.job(1);
  await until(() => job.synced, "synced");
  const other = tenant();
  hub.setToken(token(other));
  await until(() => hub.grant?.tenant === other && hub.status.state === "connected", "connected");
  await service.publish(other, 1, END);
  await until(() => job.ended, "the end");
});

test("a newer token that allows less: what it does not allow ends, with an error", async (context) => {
  const { hub, owner } = await client(context);
  const [kept, lost] = [hub.job(1), hub.job(2)];
  await until(() => kept.synced && lost.synced, "synced");
  const error = new Promise((resolve) => lost.addEventListener("error", resolve, { once: true }));
  hub.setToken(token(owner, { jobs: [1] }));
  await error;
  await service.publish(owner, 1, END);
  await until(() => kept.ended, "the end");
});

test("a job that the token does not allow fails alone", async (context) => {
  for (const transport of /** @type {const} */ (["websocket", "sse", "polling"])) {
    const owner = tenant();
    const { hub } = await client(context, { transports: [transport], token: token(owner, { jobs: [1] }) });
    const good = hub.job(1);
    const bad = hub.job(2);
    /** @type {MilepostError[]} */
    const errors = [];
    bad.addEventListener("error", (event) => errors.push(/** @type {any} */ (event).error));
    await until(() => errors.length, "the error");
    assert.match(errors[0].message, /token|granted/);
    await service.publish(owner, 1, END);
    await until(() => good.ended, "the other one's end");
    assert.equal(hub.status.state, "connected");
  }
});

test("a token is renewed in place ahead of its end, on the same socket", async (context) => {
  const owner = tenant();
  let asked = 0;
  const give = () => token(owner, { exp: Date.now() / 1000 + (asked++ ? 3600 : 3) });
  const { proxy, hub } = await client(context, { token: give });
  const job = hub.job(1);
  await until(() => (hub.grant?.expiresAt ?? 0) > Date.now() + 60_000, "another token");
  await service.publish(owner, 1, END);
  await until(() => job.ended, "the end");
  assert.equal(asked, 2);
  assert.equal(proxy.requests.length, 1);
});

test("a token function that throws is asked again, and its reason told", async (context) => {
  const owner = tenant();
  let asked = 0;
  const give = async () => {
    if (asked++ < 3) throw new Error("the session is over");
    return token(owner);
  };
  const { hub } = await client(context, { token: give });
  const reasons = statuses(hub, "reason");
  hub.job(1);
  await until(() => hub.status.state === "connected", "connected");
  assert.equal(reasons.includes("the session is over"), true);
  assert.equal(hub.status.reason, null);
});

test("an expired token is asked for anew, on every rung", async (context) => {
  const on = async (/** @type {"websocket" | "sse" | "polling"} */ transport) => {
    const owner = tenant();
    let asked = 0;
    // The second one comes too late for the first: the function has hung.
    const later = () => until(() => hub.status.state !== "connected" && token(owner), "expired");
    const give = () => (asked++ ? later() : token(owner, { exp: Date.now() / 1000 + 2 }));
    const { hub } = await client(context, { transports: [transport], token: give, connectTimeout: 5_000 });
    const job = hub.job(1);
    await until(() => hub.status.state === "reconnecting", `${transport}: expired`);
    await service.publish(owner, 1, END);
    await until(() => job.ended, `${transport}: the end`);
  };
  await Promise.all([on("websocket"), on("sse"), on("polling")]);
});

test("cancel says what the hub says", async (context) => {
  const { hub, owner } = await client(context);
  const job = hub.job(1);
  await service.publish(owner, 1, ...events(1));
  await until(() => job.synced, "known");
  await assert.rejects(job.cancel(), (error) => error instanceof MilepostError && error.status >= 400);
});

test("an iterator gives the state, each event, and ends with the job", async (context) => {
  const { hub, owner } = await client(context);
  await service.publish(owner, 1, ...events(1));
  /** @type {string[]} */
  const kinds = [];
  for await (const { kind, end, final } of hub.job(1)) {
    const rest = [...events(2, 1), { ...END, willRetry: true }, { run: 2, ...END }];
    if (kinds.push(kind) === 1) await service.publish(owner, 1, ...rest);
    assert.equal(final, kinds.length === 5);
    assert.equal(end, kinds.length > 3 ? "completed" : null);
  }
  assert.deepEqual(kinds, ["snapshot", "progress", "progress", "job", "job"]);
});

test("an iterator ends by break, by its signal, by close and by jobTimeout", async (context) => {
  const { hub, owner } = await client(context);
  await service.publish(owner, 1, ...events(1));
  const stop = new AbortController();
  const job = hub.job(1, { signal: stop.signal });
  for await (const _ of job) break;
  const waiting = job[Symbol.asyncIterator]();
  await waiting.next();
  const last = waiting.next();
  stop.abort();
  assert.equal((await last).done, true);
  const closed = hub.job(1);
  closed.close();
  for await (const _ of closed) assert.fail("a closed handle tells nothing");
  const impatient = await client(context, { jobTimeout: 50 });
  await assert.rejects(async () => {
    for await (const _ of impatient.hub.job(1)) void _;
  }, { code: "timeout" });
});

test("an iterator that is not read is bounded, and says what went", async (context) => {
  const { hub, owner } = await client(context, { queue: 10 });
  const job = hub.job(1);
  const iterator = job[Symbol.asyncIterator]();
  await until(() => job.synced, "synced");
  await service.publish(owner, 1, ...events(100), END);
  await until(() => job.ended, "the end");
  /** @type {import("../../client/milepost_client/web/client/job.js").JobEvent[]} */
  const told = [];
  for await (const event of iterator) told.push(event);
  assert.equal(told.length <= 10, true);
  assert.deepEqual([told[0].kind, told[0].payload.reason], ["gap", "slow"]);
  assert.equal(told.at(-1)?.final, true);
});

test("handles of one job share a subscription; a later one has the state at once", async (context) => {
  const { hub, owner, proxy } = await client(context);
  const first = hub.job(1);
  await service.publish(owner, 1, ...events(3));
  await until(() => first.state.nodes[0]?.rowCount === 2, "three events");
  const second = hub.job("1");
  assert.equal(second.state, first.state);
  assert.equal(second.synced, true);
  first.close();
  await service.publish(owner, 1, END);
  await until(() => second.ended, "the end");
  assert.equal(proxy.requests.length, 1);
});

test("50 handles opened and closed leave no socket, no listener and no timer", async (context) => {
  const { hub, owner, proxy } = await client(context);
  await service.publish(owner, 1, ...events(1));
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const window = new EventTarget();
  let listeners = 0;
  const { addEventListener } = window;
  window.addEventListener = (type, listener, options) => {
    listeners++;
    /** @type {AddEventListenerOptions} */ (options).signal?.addEventListener("abort", () => listeners--);
    addEventListener.call(window, type, listener, options);
  };
  Object.assign(globalThis, { window });
  context.after(() => Reflect.deleteProperty(globalThis, "window"));
  for (let turn = 0; turn < 50; turn++) {
    const handles = [hub.job(1), hub.jobs(), hub.job(turn)];
    if (turn % 10 === 0) await until(() => handles[0].synced, "synced");
    for (const handle of handles) handle.close();
    if (turn % 5 === 0) await until(() => hub.status.state === "closed", "closed");
  }
  await until(() => hub.status.state === "closed", "closed");
  await until(() => proxy.open === 0, "no socket");
  assert.equal(listeners, 0);
  await until(() => timers() <= before, "no timer");
});

test("what a tab tells when it wakes or the network is back is tried at once", async (context) => {
  const window = new EventTarget();
  Object.assign(globalThis, { window });
  context.after(() => Reflect.deleteProperty(globalThis, "window"));
  for (const name of ["online", "pageshow"]) {
    const patient = { minBackoff: 1e9, maxBackoff: 1e9 };
    const { hub, owner, proxy } = await client(context, { ...patient, transports: ["websocket"] });
    const job = hub.job(1);
    await until(() => job.synced, "synced");
    proxy.dropUpgrade = true;
    proxy.cut();
    await until(() => hub.status.retryAt, "waits for long");
    proxy.dropUpgrade = false;
    window.dispatchEvent(new Event(name));
    await service.publish(owner, 1, END);
    await until(() => job.ended, "the end");
  }
});

test("a token that cannot be renewed: the reason is told, the old one counts, a good one ends it", async (context) => {
  const owner = tenant();
  let asked = 0;
  const give = () => {
    if (asked++ === 0) return token(owner, { exp: Date.now() / 1000 + 4 });
    if (asked < 4) throw new Error("signed out");
    return token(owner);
  };
  for (const transport of /** @type {const} */ (["websocket", "sse"])) {
    asked = 0;
    const { hub, proxy } = await client(context, { token: give, transports: [transport] });
    const reasons = statuses(hub, "reason");
    const job = hub.job(transport);
    await until(() => (hub.grant?.expiresAt ?? 0) > Date.now() + 60_000, "a good one");
    assert.deepEqual([reasons.includes("signed out"), hub.status.reason, hub.status.state], [true, null, "connected"]);
    await service.publish(owner, transport, END);
    await until(() => job.ended, "the end");
    assert.equal(proxy.requests.length, 1);
  }
});

test("a browser that says it is offline: the state says so, a working connection is kept", async (context) => {
  const window = new EventTarget();
  const had = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const navigator = { onLine: true };
  Object.assign(globalThis, { window });
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  context.after(() => {
    Reflect.deleteProperty(globalThis, "window");
    Reflect.deleteProperty(globalThis, "navigator");
    if (had) Object.defineProperty(globalThis, "navigator", had);
  });
  const { hub, proxy, owner } = await client(context, { transports: ["websocket"] });
  const job = hub.job(1);
  await until(() => job.synced, "synced");
  navigator.onLine = false;
  window.dispatchEvent(new Event("offline"));
  await service.publish(owner, 1, ...events(1));
  await until(() => job.state.status === "running", "an event");
  assert.equal(hub.status.state, "connected");
  proxy.dropUpgrade = true;
  proxy.cut();
  await until(() => hub.status.state === "offline" && hub.status.retryAt, "offline, and trying");
  Object.assign(navigator, { onLine: true });
  proxy.dropUpgrade = false;
  window.dispatchEvent(new Event("online"));
  await until(() => hub.status.state === "connected", "connected");
});

test("the list: what is there, what changes, on each rung", async (context) => {
  for (const transport of /** @type {const} */ (["websocket", "sse", "polling"])) {
    const { hub, owner } = await client(context, { transports: [transport] });
    await service.publish(owner, 1, { kind: "job", status: "running", name: "one" });
    await service.publish(owner, 2, ...events(1));
    const jobs = hub.jobs();
    await until(() => jobs.synced && jobs.size === 2, `${transport}: both`);
    assert.deepEqual(jobs.list.map(({ jobId }) => jobId), [2, 1]);
    assert.equal(jobs.get("1")?.name, "one");
    await service.publish(owner, 1, END);
    await service.publish(owner, 3, ...events(1));
    await until(() => jobs.get(1)?.status === "completed" && jobs.get(3), `${transport}: the changes`);
  }
});

test("a list of several pages by polling; one that has ended behind the newest page is looked up", async (context) => {
  const { hub, owner } = await client(context, { transports: ["polling"] });
  await service.publish(owner, "old", { kind: "job", status: "running", name: "the old one" });
  await Promise.all(Array.from({ length: 600 }, (_, id) => service.publish(owner, id, ...events(1))));
  const jobs = hub.jobs();
  await until(() => jobs.synced, "the whole list");
  assert.equal(jobs.size, 601);
  assert.equal(jobs.list.at(-1)?.jobId, "old");
  await service.publish(owner, "old", END);
  await until(() => jobs.get("old")?.status === "completed", "its end");
  assert.equal(jobs.get("old")?.name, "the old one");
});
