// A hub that is part of the page's own app, as milepost.fastapi has it: the app's cookies say who asks.

import { Milepost } from "./milepost.js";

/** @import { Options } from "./milepost.js" */

/**
 * Without a token; over server-sent events and polling, for such a hub has no WebSocket.
 * @param {string | URL} [url] where the app has the routes; by default where it has this file, without `/client/…`
 * @param {Partial<Options>} [options]
 * @returns {Milepost}
 */
export function mounted(url = new URL("..", import.meta.url), options = {}) {
  const { fetch = globalThis.fetch } = options;
  /** @type {typeof globalThis.fetch} */
  const asked = (address, { headers, ...init } = {}) => {
    const shown = options.token === undefined ? {} : { headers };
    return fetch(address, { ...init, ...shown, credentials: "same-origin" });
  };
  return new Milepost(url, { token: "", transports: ["sse", "polling"], ...options, fetch: asked });
}
