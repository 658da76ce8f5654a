// Hubs that are killed, hubs without a log, NATS that goes: what a caller sees.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Milepost } from "../../client/milepost_client/web/client/milepost.js";
import { Service, tenant, token, until } from "./service.js";

/** @import { TestContext } from "node:test" */

const { WebSocket } = createRequire(new URL("../../client/package.json", import.meta.url))("ws");
const QUICK = { WebSocket, minBackoff: 20, maxBackoff: 200, linger: 0, connectTimeout: 2_000, climb: 100 };

/**
 * @param {TestContext} context
 * @param {ConstructorParameters<typeof Service>[0]} options
 */
async function started(context, options = {}) {
  const service = new Service(options);
  const owner = tenant();
  await service.start();
  const hub = new Milepost(service.url, { token: token(owner), ...QUICK });
  context.after(async () => {
    hub.close();
    await service.close();
  });
  return { service, owner, hub };
}

/** @param {number} row */
const at = (row) => ({ nodeId: 1, status: "running", rowCount: row, total: 100 });

test("a hub killed and started again in the middle of a job: every event once, none missing", async (context) => {
  const { service, owner, hub } = await started(context);
  const job = hub.job(1);
  const jobs = hub.jobs();
  /** @type {number[]} */
  const seen = [];
  job.addEventListener("progress", (event) => seen.push(/** @type {any} */ (event).payload.rowCount));
  await until(() => job.synced && jobs.synced, "synced");
  await service.publish(owner, 1, at(0), at(1));
  await until(() => seen.length === 2, "the first two");
  await service.stopHub();
  await service.publish(owner, 1, at(2), at(3));
  await until(() => hub.status.state === "reconnecting", "the loss is noticed");
  assert.equal(job.state.nodes[0].rowCount, 1, "what was seen stays");
  await service.startHub();
  await service.publish(owner, 1, at(4), { status: "completed" });
  await until(() => job.ended && jobs.get(1)?.status === "completed", "the end");
  await until(() => hub.status.transport === "websocket", "the WebSocket");
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
  assert.equal(job.gap, null);
});

test("a hub without a log: after a reconnect the state stays, and a gap is told", async (context) => {
  const { service, owner, hub } = await started(context, { arguments: ["--no-bridge-log"] });
  const job = hub.job(1);
  /** @type {string[]} */
  const kinds = [];
  job.addEventListener("gap", () => kinds.push(job.gap?.reason ?? ""));
  await until(() => job.synced, "synced");
  assert.equal(hub.status.durable, false);
  await service.publish(owner, 1, at(7));
  await until(() => job.state.nodes[0]?.rowCount === 7, "an event");
  await service.stopHub();
  await service.publish(owner, 1, at(8));
  await service.startHub();
  await until(() => job.gap, "the gap");
  assert.equal(job.state.nodes[0].rowCount, 7);
  assert.equal(job.state.status, "running");
  await service.publish(owner, 1, at(9), { status: "completed" });
  await until(() => job.ended, "the end");
  assert.deepEqual(kinds, ["unavailable"]);
});

test("a hub that has lost NATS says so, and that it is back", async (context) => {
  const { service, owner, hub } = await started(context);
  const job = hub.job(1);
  await until(() => hub.status.upstream === "up", "up");
  await service.stopNats();
  await until(() => hub.status.upstream === "down", "down");
  assert.equal(hub.status.state, "connected");
  service.startNats();
  await until(() => hub.status.upstream === "up", "up again");
  await service.publish(owner, 1, { status: "completed" });
  await until(() => job.ended, "the end");
});
