// What a person reads of numbers, times and payloads.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as text from "../../client/milepost_client/web/client/view/text.js";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** @param {(value: any) => string} write @param {[unknown, string][]} cases */
const reads = (write, cases) => cases.forEach(([value, words]) => assert.equal(write(value), words));

test("a clock reads minutes and seconds, and more only when there is more", () => {
  reads(text.clockTime, [
    [-5, "0:00"],
    [2_900, "0:02"],
    [5 * MINUTE + 12_000, "5:12"],
    [HOUR + 2 * MINUTE + 11_000, "1:02:11"],
    [75 * HOUR, "3 d 3:00:00"],
  ]);
});

test("a duration has one unit, and goes over to the next before it would round to it", () => {
  reads(text.roughly, [
    [0, "0 ms"],
    [40, "40 ms"],
    [1_200, "1.2 s"],
    [9_960, "10 s"],
    [59_600, "1 min"],
    [59.6 * MINUTE, "1 h"],
    [1.5 * HOUR, "1.5 h"],
    [72 * HOUR, "3 d"],
  ]);
});

test("how long ago is never rounded up, and what is newer than the network's delay is now", () => {
  reads(text.ago, [
    [-400, "now"],
    [2_999, "now"],
    [3_000, "3 s ago"],
    [119_999, "1 min ago"],
    [25 * HOUR, "25 h ago"],
    [49 * HOUR, "2 d ago"],
  ]);
});

test("a time left that nobody can mean is not told", () => {
  reads(text.timeLeft, [
    [null, ""],
    [Infinity, ""],
    [400 * 24 * HOUR, ""],
    [400, "1 s left"],
    [3 * MINUTE, "3 min left"],
  ]);
});

test("100 % is said of nothing that is not done", () => {
  reads(text.percent, [
    [0, "0 %"],
    [0.29, "29 %"],
    [0.999, "99 %"],
    [1, "100 %"],
    [1.7, "100 %"],
    [-1, "0 %"],
  ]);
});

test("counts, speeds and sizes keep to few characters", () => {
  reads(text.count, [
    [301_220, "301,220"],
    [0.125, "0.13"],
    [-3, "-3"],
    [12_345_678_901, "12.3B"],
  ]);
  reads(text.speed, [
    [null, ""],
    [0, ""],
    [123_456, "123.5k/s"],
    [88.4, "88/s"],
    [1.26, "1.3/s"],
    [0.07, "4.2/min"],
    [0.001, "3.6/h"],
  ]);
  reads(text.fractionSpeed, [
    [0.02, "2 %/s"],
    [0.041 / 60, "4.1 %/min"],
    [0.005 / 3_600, "0.5 %/h"],
  ]);
  reads(text.bytes, [
    [812, "812 B"],
    [4_123_456, "4.1 MB"],
  ]);
});

test("a node tells what it has done, of how many if it knows", () => {
  reads(text.amount, [
    [{}, ""],
    [{ rowCount: 0 }, "0"],
    [{ rowCount: 519, total: 812, unit: "files" }, "519 of 812 files"],
    [{ rowCount: 301_220, total: null, unit: "rows" }, "301,220 rows"],
  ]);
});

test("what cannot be seen, and what turns other text around, is written out", () => {
  reads(text.plain, [
    ["a\u202eb", "a\\u202eb"],
    ["\u0000\u001b[31m", "\\u0000\\u001b[31m"],
    ["\u2066x\u2069\u200f\ufeff", "\\u2066x\\u2069\\u200f\\ufeff"],
    ["tab\tand\nline stay", "tab\tand\nline stay"],
    ["Ünïcode, 日本語, שלום, 👩‍🚀", "Ünïcode, 日本語, שלום, 👩‍🚀"],
    [null, ""],
    [7, "7"],
  ]);
});

test("a brief text is one line, and no character is cut in two", () => {
  assert.equal(text.brief("one\n  two\tthree"), "one two three");
  assert.equal(text.brief("aaaa", 3), "aaa…");
  assert.equal(text.brief("aa👍👍", 3), "aa…");
});

test("JSON is for reading: short lists stand on one line, and what is too deep is not gone into", () => {
  assert.equal(text.json({ names: [["self", 12], ["x", null]], none: {}, empty: [] }), `{
  "names": [
    ["self", 12],
    ["x", null]
  ],
  "none": {},
  "empty": []
}`);
  assert.deepEqual(JSON.parse(text.json({ a: ["x, y", "\"q\\"], b: [{}] })), { a: ["x, y", "\"q\\"], b: [{}] });
  assert.equal(text.json("a\u202eb\nc"), "a\\u202eb\nc");
  assert.equal(text.json(JSON.parse("[".repeat(30_000) + "]".repeat(30_000))), "nested too deeply to be shown");
});

test("only a web address becomes a link", () => {
  for (const address of [
    "javascript:alert(1)",
    " javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "//example.com/",
    "/relative",
    "https://",
    "vbscript:x",
    "",
    null,
    7,
  ]) {
    assert.equal(text.webAddress(address), null, String(address));
  }
  assert.equal(text.webAddress("HTTPS://example.com/a b"), "https://example.com/a%20b");
  assert.equal(text.webAddress("http://example.com"), "http://example.com/");
});

test("a stalled job is told as stalled until it has ended, and an unknown status as unknown", () => {
  assert.equal(text.stateOf({ status: "running", stalled: true }), "stalled");
  assert.equal(text.stateOf({ status: "failed", stalled: true }), "failed");
  assert.equal(text.stateOf({ status: "queued", stalled: true }), "queued");
  assert.equal(text.stateOf({ status: "constructor" }), "unknown");
  assert.equal(text.stateOf({ status: null }), "unknown");
});
