// A proxy that spoils connections on purpose.

import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";

const NO_UPGRADE = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

export class Proxy {
  /** Answer an upgrade as a plain request. */
  dropUpgrade = false;
  /** Take the answers of streams, and keep them. */
  bufferStreams = false;
  /** Nothing goes through either way any more, and nobody is told. */
  hole = false;
  /** Let requests through, and cut the connection when the answer comes. */
  dropAnswers = false;
  /** Answer requests whose address has this in it as a hub does whose log is away; the errors are not a hub's. */
  unavailable = "";
  /** What was asked for: `GET /ws`, with `upgrade` before it for those. @type {string[]} */
  requests = [];
  #target;
  #server = createServer();
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();

  /** @param {string} url of the hub */
  constructor(url) {
    this.#target = new URL(url);
    this.#server.on("connection", (socket) => this.#hold(socket));
    this.#server.on("request", (asked, answer) => this.#request(asked, answer));
    this.#server.on("upgrade", (asked, socket, head) => this.#upgrade(asked, socket, head));
  }

  async start() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get url() {
    const address = /** @type {import("node:net").AddressInfo} */ (this.#server.address());
    return `http://127.0.0.1:${address.port}`;
  }

  /** Connections of clients. */
  get open() {
    return this.#sockets.size;
  }

  /** Break every connection. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** @param {import("node:net").Socket} socket */
  #hold(socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  /**
   * @param {import("node:http").IncomingMessage} asked
   * @param {import("node:http").ServerResponse} answer
   */
  #request(asked, answer) {
    this.requests.push(`${asked.method} ${asked.url}`);
    if (this.hole) return;
    if (this.unavailable && asked.url?.includes(this.unavailable)) {
      answer.writeHead(503, { "Content-Type": "application/problem+json" });
      return void answer.end('{"detail":"the log is away","errors":{"log":["away"]}}');
    }
    const { hostname, port } = this.#target;
    const { method, url: path, headers } = asked;
    const onward = request({ hostname, port, method, path, headers, agent: false }, (told) => {
      if (this.dropAnswers) return void answer.destroy();
      if (this.bufferStreams && path?.includes("/stream")) return void told.resume();
      answer.writeHead(told.statusCode ?? 502, told.headers);
      answer.flushHeaders();
      told.on("data", (data) => this.hole || answer.write(data));
      told.on("end", () => this.hole || answer.end());
      told.on("error", () => answer.destroy());
    });
    onward.on("error", () => answer.destroy());
    answer.on("close", () => onward.destroy());
    asked.pipe(onward);
  }

  /**
   * @param {import("node:http").IncomingMessage} asked
   * @param {import("node:stream").Duplex} socket
   * @param {Buffer} head
   */
  #upgrade(asked, socket, head) {
    this.requests.push(`upgrade ${asked.method} ${asked.url}`);
    if (this.hole) return;
    if (this.dropUpgrade) return void socket.end(NO_UPGRADE);
    const onward = connect(Number(this.#target.port), this.#target.hostname);
    const lines = [`GET ${asked.url} HTTP/1.1`];
    const { rawHeaders } = asked;
    for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
    onward.write(`${lines.join("\r\n")}\r\n\r\n`);
    onward.write(head);
    for (const [from, to] of [[socket, onward], [onward, socket]]) {
      from.on("data", (data) => this.hole || to.write(data));
      from.on("error", () => {});
      from.on("close", () => this.hole || to.destroy());
    }
  }
}
