// A real nats-server and a real hub, for one test file: to start, kill and start again.

import { spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const SECRET = "a secret of the tests, long enough for HS256";
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = process.env.MILEPOST_BIN ?? fileURLToPath(new URL("../../.venv/bin", import.meta.url));

/**
 * Wait until it is so.
 * @template T
 * @param {() => T | Promise<T>} look
 * @param {string} what
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(look, what, most = 15_000) {
  const end = Date.now() + most;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${most / 1000} s: ${what}`);
    await sleep(5);
  }
}

/** @param {object} value */
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/**
 * A token that the service's hub believes.
 * @param {string} tenant
 * @param {object} [claims] besides the tenant and an end in an hour
 */
export function token(tenant, claims = {}) {
  const exp = Date.now() / 1000 + 3600;
  const body = `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ tenant, exp, ...claims })}`;
  return `${body}.${createHmac("sha256", SECRET).update(body).digest("base64url")}`;
}

process.once("SIGTERM", () => process.exit(1));

/** A tenant that no other test uses. */
export const tenant = () => `client-${randomUUID().slice(0, 12)}`;

export class Service {
  /** @type {import("node:child_process").ChildProcess[]} */
  #processes = [];
  #directory = "";
  #nats = 0;
  #port = 0;
  /** @type {import("node:net").Socket | null} */
  #publisher = null;
  #pongs = 0;

  /** @param {{ arguments?: string[], takesJobs?: boolean }} [options] of `milepost serve`; a hub with a desk instead */
  constructor({ arguments: more = [], takesJobs = false } = {}) {
    this.more = more;
    this.program = takesJobs ? ["python", "-m", "tests.client.desk_hub"] : ["milepost"];
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start() {
    this.#directory = await mkdtemp(join(tmpdir(), "milepost-"));
    this.startNats();
    const ports = await until(async () => {
      const names = await readdir(this.#directory);
      const name = names.find((each) => each.endsWith(".ports"));
      const text = name && (await readFile(join(this.#directory, name), "utf8"));
      return text && JSON.parse(text).nats[0];
    }, "nats-server listens");
    this.#nats = Number(new URL(ports).port);
    await this.startHub();
    return this;
  }

  startNats() {
    const port = String(this.#nats || -1);
    const files = ["--ports_file_dir", this.#directory, "-sd", this.#directory];
    this.nats = this.#run("nats-server", ["-a", "127.0.0.1", "-p", port, "-js", ...files]);
  }

  async stopNats() {
    this.#publisher?.destroy();
    this.#publisher = null;
    this.nats?.kill("SIGKILL");
    if (this.nats) await once(this.nats, "exit");
  }

  async startHub() {
    const [program, ...words] = this.program;
    const hub = this.#run(program, [...words, "serve", "--port", String(this.#port), ...this.more]);
    const lines = createInterface({ input: hub.stdout ?? process.stdin });
    for await (const line of lines) {
      const found = /Milepost serves (\S+)/.exec(line);
      if (found) this.#port = Number(new URL(found[1]).port);
      if (found) break;
    }
    lines.on("line", () => {});
    hub.stdout?.resume();
    this.hub = hub;
    // before that there may be no stream that keeps what is published
    await until(async () => (await fetch(`${this.url}/readyz`)).ok, "the hub is ready");
  }

  /** @param {NodeJS.Signals} [signal] */
  async stopHub(signal = "SIGKILL") {
    if (!this.hub || this.hub.exitCode !== null) return;
    this.hub.kill(signal);
    await once(this.hub, "exit");
  }

  /**
   * Publish events, in order; returns when NATS has them.
   * @param {string} owner the tenant
   * @param {string | number} job
   * @param {...object} payloads
   */
  async publish(owner, job, ...payloads) {
    if (!this.#publisher) {
      this.#publisher = connect(this.#nats, "127.0.0.1");
      this.#publisher.on("data", (data) => (this.#pongs += data.toString().split("PONG").length - 1));
      this.#publisher.on("error", () => {});
      this.#publisher.write('CONNECT {"verbose":false,"pedantic":false}\r\n');
    }
    let text = "";
    for (const payload of payloads) {
      const body = JSON.stringify(payload);
      text += `PUB tenant.${owner}.job.${job}.progress ${Buffer.byteLength(body)}\r\n${body}\r\n`;
    }
    const pongs = this.#pongs;
    this.#publisher.write(`${text}PING\r\n`);
    await until(() => this.#pongs > pongs, "NATS has it");
  }

  async close() {
    this.#publisher?.destroy();
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  /**
   * @param {string} name
   * @param {string[]} words
   */
  #run(name, words) {
    const env = { ...process.env, MILEPOST_JWT_SECRET: SECRET, MILEPOST_DRAIN_SECONDS: "0" };
    const nats = { NATS_URL: `nats://127.0.0.1:${this.#nats}`, PYTHONUNBUFFERED: "1" };
    const child = spawn(join(BIN, name), words, { cwd: ROOT, env: { ...env, ...nats }, stdio: ["ignore", "pipe", "ignore"] });
    if (name === "nats-server") child.stdout?.resume();
    this.#processes.push(child);
    // also when the test runner has lost its patience
    process.once("exit", () => child.kill("SIGKILL"));
    return child;
  }
}
