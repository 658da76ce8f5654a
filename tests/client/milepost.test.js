// The client against a real hub: what a caller sees, on each rung and across faults.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createRequire } from "node:module";
import { Milepost, MilepostError } from "../../client/milepost_client/web/client/milepost.js";
import { Proxy } from "./proxy.js";
import { Service, tenant, token, until } from "./service.js";

/** @import { Options } from "../../client/milepost_client/web/client/milepost.js" */

// npm's packages are installed beside the client, not beside the tests
const { WebSocket } = createRequire(new URL("../../client/package.json", import.meta.url))("ws");
const service = new Service({ arguments: ["--heartbeat-interval", "0.2"] });
/** @type {Proxy} */
let proxy;

before(() => service.start());
after(() => service.close());

/** @type {Partial<Options>} Everything happens at once. */
const QUICK = { WebSocket, minBackoff: 20, maxBackoff: 200, pollInterval: 50, linger: 0, connectTimeout: 1_000, idle: 1_000 };

/**
 * A client behind a proxy of its own, both gone when the test is over.
 * @param {import("node:test").TestContext} context
 * @param {Partial<Options>} [options]
 */
async function client(context, options = {}) {
  const proxy = await new Proxy(service.url).start();
  const owner = tenant();
  const hub = new Milepost(proxy.url, { token: token(owner, { scope: "watch cancel" }), ...QUICK, ...options });
  context.after(async () => {
    hub.close();
    await proxy.close();
  });
  return { proxy, hub, owner };
}

/** @param {number} count */
const events = (count, from = 0) => Array.from({ length: count }, (_, at) => ({ nodeId: 1, status: "running", rowCount: from + at, total: 1000 }));

const END = { status: "completed" };

for (const transport of /** @type {const} */ (["websocket", "sse", "polling"])) {
  test(`${transport}: every event once, in order, across five cuts`, async (context) => {
    const { proxy, hub, owner } = await client(context, { transports: [transport] });
    const job = hub.job(1);
    /** @type {number[]} */
    const seen = [];
    job.addEventListener("progress", (event) => seen.push(/** @type {any} */ (event).payload.rowCount));
    await service.publish(owner, 1, ...events(1));
    await until(() => job.cursor, "the first cursor");
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
