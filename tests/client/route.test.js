// Places in the dashboard, and what the URL's fragment says of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, write } from "../../client/milepost_client/web/dashboard/route.js";

test("a place is what its fragment says, there and back", () => {
  for (const fragment of ["#/", "#/?q=a%26b+c&status=failed", "#/?status=stalled", "#/jobs/42", "#/jobs/nightly_1-a"]) {
    assert.deepEqual(parse(fragment).token, null);
    assert.equal(write(parse(fragment).place), fragment);
  }
});

test("a token is found beside a job or alone, and is no part of the place", () => {
  for (const [fragment, place] of [
    ["#token=a.b-c_d", "#/"],
    ["#token=a.b-c_d&job=42", "#/jobs/42"],
    ["#job=42&token=a.b-c_d", "#/jobs/42"],
    ["#/jobs/42?token=a.b-c_d", "#/jobs/42"],
    ["#/?q=x&token=a.b-c_d", "#/?q=x"],
  ]) {
    const found = parse(fragment);
    assert.equal(found.token, "a.b-c_d");
    assert.equal(write(found.place), place);
  }
});

test("what is no job's id and no filter leads to the list", () => {
  for (const fragment of ["", "#", "#/jobs/", "#/jobs/a/b", "#/jobs/%3Cimg%3E", "#/?status=__proto__", "#/jobs/" + "x".repeat(65)]) {
    assert.equal(write(parse(fragment).place), "#/");
  }
});
