// A client behind a proxy of its own, both gone when the test is over.

import { createRequire } from "node:module";
import { Milepost } from "../../client/milepost_client/web/client/milepost.js";
import { Proxy } from "./proxy.js";
import { tenant, token } from "./service.js";

/** @import { Options } from "../../client/milepost_client/web/client/milepost.js" */
/** @import { Service } from "./service.js" */

// npm's packages are installed beside the client, not beside the tests
const packages = createRequire(new URL("../../client/package.json", import.meta.url));
export const { WebSocket, WebSocketServer } = packages("ws");

/** @type {Partial<Options>} Everything happens at once. */
export const QUICK = {
  WebSocket,
  minBackoff: 20,
  maxBackoff: 200,
  pollInterval: 50,
  linger: 0,
  connectTimeout: 5_000,
  idle: 5_000,
};

/**
 * @param {import("node:test").TestContext} context
 * @param {Service} service
 * @param {Partial<Options>} [options]
 */
export async function behind(context, service, options = {}) {
  const proxy = await new Proxy(service.url).start();
  const owner = tenant();
  const hub = new Milepost(proxy.url, { token: token(owner, { scope: "watch cancel" }), ...QUICK, ...options });
  context.after(async () => {
    hub.close();
    await proxy.close();
  });
  return { proxy, hub, owner };
}
