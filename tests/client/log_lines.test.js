// A log on the page, put together from live lines and from snapshots.

import assert from "node:assert/strict";
import { test } from "node:test";

import { added } from "../../client/milepost_client/web/dashboard/log_lines.js";

/** @param {number} second */
const line = (second) => ({ at: `2026-01-01T00:00:${String(second).padStart(2, "0")}.000Z`, level: "info", message: `line ${second}` });
/** @param {number} from @param {number} to */
const lines = (from, to) => Array.from({ length: to - from }, (_, index) => line(from + index));

test("a page that has no line yet takes all of them", () => {
  assert.deepEqual(added([], lines(0, 3)), lines(0, 3));
});

test("of lines that are there already none is added again", () => {
  assert.deepEqual(added(lines(0, 5), lines(2, 8)), lines(5, 8));
  assert.deepEqual(added(lines(0, 5), lines(0, 5)), []);
});

test("where nothing is in common, what may be missing is marked, once", () => {
  const [mark, ...news] = added(lines(0, 5), lines(20, 22));
  assert.ok("gap" in mark);
  assert.deepEqual(news, lines(20, 22));
  assert.deepEqual(added([...lines(0, 5), { gap: "told already" }], lines(20, 22)), lines(20, 22));
});

test("a snapshot that is older than the page's last line adds nothing", () => {
  assert.deepEqual(added(lines(10, 12), lines(0, 3)), []);
});
