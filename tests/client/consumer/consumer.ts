// A program of somebody's own, as TypeScript at its strictest sees the package.

import { Milepost, MilepostError, type JobView, type NodeView, type Options, type Status } from "milepost";
import { followJob, type Callbacks } from "milepost/callbacks";
import { MilepostProvider, useJob, useJobs, useStatus } from "milepost/react";
import { MilepostService, injectJob, provideMilepost } from "milepost/angular";
import { JobState } from "milepost/state";
import { submit, submitAgain, submittedAs, type Submitted } from "milepost/submit";
import { createElement } from "react";

const options: Options = { token: async () => "a token", maxBackoff: 5_000, transports: ["sse", "polling"] };
const hub = new Milepost("https://hub.example", options);
const job = hub.job(42, { signal: AbortSignal.timeout(1_000), after: "start" });

job.addEventListener("change", () => {
  const view: Readonly<JobView> = job.state;
  const rows: (number | undefined)[] = view.nodes.map((node: Readonly<NodeView>) => node.rowCount);
  const fraction: number | null = view.fraction;
  // @ts-expect-error a view is never changed
  view.status = "failed";
  // @ts-expect-error there is no such status
  const wrong = view.status === "done";
  return [rows, fraction, wrong];
});

export async function follow(): Promise<string | null> {
  for await (const event of job) if (event.end !== null) return event.end;
  try {
    await job.cancel();
  } catch (error) {
    if (error instanceof MilepostError) return error.code;
  }
  const status: Readonly<Status> = hub.status;
  return status.reason;
}

const callbacks: Callbacks = { onProgress: ({ progress }) => progress.toFixed(), onFailed: (error) => error.trim() };
export const following: 0 | 1 | 3 = followJob("42", callbacks, { url: "https://hub.example", token: "t" }).getReadyState();

export function Progress() {
  const { state, synced, cancel } = useJob(42);
  const { list } = useJobs();
  const { retryAt } = useStatus();
  return createElement("button", { onClick: () => void cancel() }, synced && state.name, list.length, retryAt);
}

export const page = createElement(MilepostProvider, { hub }, createElement(Progress));
export const providers = [provideMilepost(undefined, { token: "t" })];
export const status = () => injectJob(() => 42)().state.status;
export const leave = (service: MilepostService): (() => void) => service.onProgress((event) => event.kind);
export const restored: JobView = JobState.ofSnapshot({}).view;

export async function run(): Promise<string | number> {
  try {
    const { jobId, token }: Submitted = await submit(hub, "import", { rows: [1] }, { key: "import-42" });
    if (token !== null) new Milepost("https://hub.example", { token }).job(jobId);
    const name: string | null = await submittedAs(hub, jobId);
    return name === null ? jobId : (await submitAgain(hub, jobId, { signal: AbortSignal.timeout(1_000) })).jobId;
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    return error.reasons.map(({ loc, msg }) => `${loc.join(".")}: ${msg}`).join("\n");
  }
}

// @ts-expect-error a hub asks for a token
new Milepost("https://hub.example", {});
