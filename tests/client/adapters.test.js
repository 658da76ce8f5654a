// The adapters' own promises, without a framework's page around them; test_apps.py has those.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { followJob } from "../../client/milepost_client/web/client/callbacks.js";
import { QUICK, behind } from "./behind.js";
import { Service, tenant, token, until } from "./service.js";

const END = { status: "completed" };
const service = new Service();
before(() => service.start());
after(() => service.close());

test("angular: a job that two have asked for is followed until both are done, and told once", async (context) => {
  // Angular compiles itself for the page it is in; that takes its compiler.
  await import("../../client/node_modules/@angular/compiler/fesm2022/compiler.mjs");
  const { MilepostService } = await import("../../client/milepost_client/web/client/angular.js");
  const { hub, owner } = await behind(context, service, { ...QUICK });
  const jobs = new MilepostService(hub, /** @type {any} */ ({ onDestroy: () => {} }));
  /** @type {number[]} */
  const seen = [];
  let snapshots = 0;
  jobs.onProgress(({ kind, payload }) => (kind === "snapshot" ? snapshots++ : seen.push(payload.fraction)));
  const ends = [jobs.subscribeToJob(1), jobs.subscribeToJob("1")];
  await until(() => snapshots === 1, "followed");
  ends[0]();
  ends[0]();
  await service.publish(owner, 1, { fraction: 0.5 });
  await until(() => seen.length, "the other one's event");
  ends[1]();
  await until(() => hub.status.state === "closed", "nobody holds it");
  const old = jobs.subscribeToJob(1);
  jobs.disconnect();
  jobs.subscribeToJob(1);
  ends[1]();
  old();
  await until(() => snapshots === 2, "followed again");
  await service.publish(owner, 1, { fraction: 0.7 });
  await until(() => seen.length === 2, "an end that is over ends nothing");
  jobs.disconnect();
  assert.deepEqual(seen, [0.5, 0.7]);
});

test("callbacks: one that throws keeps none of the others from being called, and it closes itself", async (context) => {
  const owner = tenant();
  /** @type {unknown[]} */
  const thrown = [];
  const had = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => thrown.push(error.message));
  context.after(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of had) process.on("uncaughtException", listener);
  });
  /** @type {unknown[]} */
  const told = [];
  const following = followJob(
    1,
    {
      onProgress: ({ status }) => {
        throw new Error(status);
      },
      onArtifact: ({ name }) => void told.push(name),
      onCompleted: (result) => void told.push(result),
    },
    { url: service.url, token: token(owner), ...QUICK },
  );
  await until(() => following.isOpen(), "open");
  const artifact = { kind: "artifact", data: { name: "report", uri: "/report" } };
  await service.publish(owner, 1, artifact, { kind: "result", data: 7 }, END);
  await until(() => following.getReadyState() === 3, "closed");
  assert.deepEqual(told, ["report", 7]);
  assert.equal(thrown.includes("completed"), true);
});
