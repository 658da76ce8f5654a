import { setTimeout } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";

const { NATS_URL, MILEPOST_TENANT, MILEPOST_JOB } = process.env;
const nc = await connect({ servers: NATS_URL });
const job = `tenant.${MILEPOST_TENANT}.job.${MILEPOST_JOB}`;
const tell = (event) => nc.publish(`${job}.progress`, JSON.stringify(event));
let status = "completed";
nc.subscribe(`${job}.control`, {
  callback: (_, request) => {
    status = "cancelled";
    request.respond('{"ok":true}');
  },
});

tell({ status: "running", name: "Import in Node" });
for (let rowCount = 1000; rowCount <= 5000 && status === "completed"; rowCount += 1000) {
  tell({ nodeId: 1, nodeName: "DB Input", status: "running", rowCount, message: "Processing rows..." });
  await setTimeout(100); // the work
}
tell({ nodeId: 1, status });
tell({ kind: "log", message: "a row had no date" });

const once = headers();
once.set("Nats-Expected-Last-Subject-Sequence", "0");
await nc.request(`${job}.end.1`, JSON.stringify({ status }), { headers: once, timeout: 5_000 });
await nc.close();
