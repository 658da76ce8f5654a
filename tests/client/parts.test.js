// The small parts that need no socket.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Idle } from "../../client/milepost_client/web/client/alarm.js";
import { Backoff } from "../../client/milepost_client/web/client/backoff.js";
import { MilepostError } from "../../client/milepost_client/web/client/errors.js";
import { HubClock } from "../../client/milepost_client/web/client/hub_clock.js";
import { verdict } from "../../client/milepost_client/web/client/link.js";
import { SseParser } from "../../client/milepost_client/web/client/sse.js";
import { askToken, readToken } from "../../client/milepost_client/web/client/token.js";
import { token } from "./service.js";

test("backoff: full jitter below a bound that doubles up to the longest, and begins anew", () => {
  const backoff = new Backoff(1_000, 15_000);
  for (let round = 0; round < 50; round++) {
    for (const most of [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
      const wait = backoff.next();
      assert.equal(wait >= 0 && wait < most, true);
    }
    for (let more = 0; more < 100; more++) assert.equal(backoff.next() < 15_000, true);
    backoff.reset();
  }
});

test("sse: events in any pieces, with any line ends", () => {
  const first = ': hello\r\nevent: progress\nid: 1-1\ndata: {"a":\ndata: 1}\n\n';
  const text = `${first}retry: 2000\r\n\r\ndata\r\rdata:x\n\ndata: unfinished`;
  const whole = new SseParser().push(text);
  assert.deepEqual(whole, ['{"a":\n1}', "", "x"]);
  for (let size = 1; size < 12; size++) {
    const parser = new SseParser();
    const told = [];
    for (let at = 0; at < text.length; at += size) told.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(told, whole, `pieces of ${size}`);
  }
});

test("token: what its payload says, and null for what says nothing", () => {
  const grant = readToken(token("täst", { scope: "watch cancel", jobs: [1, "a"], exp: 2_000_000_000 }));
  assert.deepEqual(grant, { tenant: "täst", scope: ["watch", "cancel"], jobs: [1, "a"], expiresAt: 2e12 });
  assert.deepEqual(readToken(token("a", { scope: ["watch"] }))?.scope, ["watch"]);
  for (const bad of ["", "a.b.c", "no token", `x.${btoa("{}")}.y`, `x.${btoa('{"tenant":"a"}')}.y`]) {
    assert.equal(readToken(bad), null);
  }
});

test("token: a function that hangs, throws or gives no string is an error in words", async () => {
  assert.equal(await askToken("text", 10), "text");
  assert.equal(await askToken(async () => "later", 1_000), "later");
  await assert.rejects(askToken(() => new Promise(() => {}), 10), /no token within/);
  await assert.rejects(askToken(() => /** @type {any} */ (null), 10), TypeError);
  await assert.rejects(askToken(() => { throw new Error("signed out"); }, 10), /signed out/);
});

test("the ladder: refused, the next rung, or later", () => {
  /** @type {[number, boolean, string][]} */
  const cases = [
    [4500, false, "refused"], [4503, true, "refused"], [4999, true, "refused"], [401, false, "refused"],
    [401, true, "later"], [4001, true, "later"], [4003, true, "later"], [4499, true, "later"], [1006, true, "later"],
    [1006, false, "next"], [0, false, "next"], [4001, false, "later"], [502, false, "next"],
  ];
  for (const [status, worked, decided] of cases) {
    assert.equal(verdict(new MilepostError(status, "", ""), worked), decided, `${status}`);
  }
});

test("the hub's clock: what was made just now counts, what is older does not", () => {
  const clock = new HubClock();
  const ahead = 60_000;
  const iso = (/** @type {number} */ offset) => new Date(Date.now() + offset).toISOString();
  const off = () => clock.now() - Date.now();
  clock.told(iso(-3_600_000), false);
  assert.equal(off(), 0);
  clock.told(iso(ahead), false);
  clock.told(iso(-3_600_000), false);
  assert.equal(Math.abs(off() - ahead) < 100, true);
  clock.told(iso(-ahead), true);
  clock.told(iso(-ahead), true);
  assert.equal(Math.abs(off() + ahead) < 100, true);
  clock.told("no time", true);
  assert.equal(Math.abs(off() + ahead) < 100, true);
});

test("idle: rings when nothing was heard for so long, and not when stopped", async () => {
  let heard = 0;
  let last = performance.now();
  /** @type {Idle} */
  let idle;
  const silence = await new Promise((resolve) => {
    idle = new Idle(20, () => resolve(performance.now() - last));
    const talk = setInterval(() => {
      if (heard++ === 10) return clearInterval(talk);
      last = performance.now();
      idle.heard();
    }, 5);
    const stopped = new Idle(1, () => assert.fail("it was stopped"));
    stopped.stop();
  });
  idle.stop();
  // the wall's clock, which it reads too, has whole milliseconds
  assert.equal(silence >= 19, true, `${silence} ms`);
});
