// Reads one job per line, `{"events": [{"at", "payload", "run"?}], "split": n}`, and writes what the reducer makes of it:
// the view after all events, and the same with the state replaced, after `split` of them, by one made of its own view.

import { createInterface } from "node:readline";
import { JobState } from "../../client/milepost_client/web/client/state.js";

/**
 * @param {JobState} state
 * @param {{ at: string, payload: object, run?: number }[]} events
 */
function reduce(state, events) {
  const verdicts = events.map(({ at, payload, run }) => state.apply(payload, at, run));
  return { verdicts, view: state.view };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { events, split } = JSON.parse(line);
  const first = new JobState("1");
  reduce(first, events.slice(0, split));
  const resumed = JobState.ofSnapshot(JSON.parse(JSON.stringify(first.view)));
  const whole = reduce(new JobState("1"), events);
  process.stdout.write(`${JSON.stringify({ ...whole, resumed: reduce(resumed, events.slice(split)).view })}\n`);
}
