import assert from "node:assert/strict";
import { test } from "node:test";
import { Rate, WINDOW } from "../../client/milepost_client/web/client/view/rate.js";

test("nothing is known before two counts", () => {
  const rate = new Rate();
  assert.equal(rate.perSecond(0), null);
  rate.add(0, 100);
  assert.equal(rate.perSecond(1_000), null);
  assert.equal(rate.left(1_000, 1_000), null);
});

test("a steady count has its rate and its time left", () => {
  const rate = new Rate();
  for (let second = 0; second < 6; second++) rate.add(second * 1_000, second * 50);
  assert.equal(rate.perSecond(5_000), 50);
  assert.equal(rate.left(5_000, 1_000), 15_000);
  assert.equal(rate.left(5_000, 100), 0);
  assert.equal(rate.left(5_000, null), null);
});

test("only the last seconds count", () => {
  const rate = new Rate();
  for (let second = 0; second < 100; second++) rate.add(second * 1_000, second);
  for (let second = 100; second < 112; second++) rate.add(second * 1_000, 100 + (second - 100) * 10);
  assert.ok(Math.abs((rate.perSecond(111_000) ?? 0) - 10) < 1e-9);
});

test("who falls silent slows down and then has no rate", () => {
  const rate = new Rate();
  rate.add(0, 0);
  rate.add(1_000, 100);
  assert.equal(rate.perSecond(2_000), 50);
  assert.equal(rate.perSecond(1_000 + WINDOW + 1), null);
});

test("a count that falls begins anew", () => {
  const rate = new Rate(-1_000);
  rate.add(0, 0);
  rate.add(1_000, 100);
  rate.add(2_000, 5);
  assert.equal(rate.perSecond(2_000), null);
});

test("who joins late has a first estimate from the start on, until enough was seen", () => {
  const rate = new Rate(0);
  rate.add(60_000, 600);
  assert.equal(rate.perSecond(60_000), 10);
  assert.equal(rate.left(60_000, 1_200), 60_000);
  rate.add(61_000, 700);
  assert.equal(rate.perSecond(61_000), 700 / 61);
  rate.add(62_000, 800);
  assert.equal(rate.perSecond(62_000), 100);
});

test("counts by the thousand take no more room than the window", () => {
  const rate = new Rate();
  for (let at = 0; at < 60_000; at++) rate.add(at, at);
  assert.ok(Math.abs((rate.perSecond(60_000) ?? 0) - 1_000) < 10);
});
