// Runs and ends: which events of a job are live, which one is a run's end, and which come too late. The current run is
// the highest heard of; what is of an older one, or follows the current one's end, is late.

/** One job's rule: give it every event in the log's order. */
export class RunGate {
  /** The current run, from 1. */
  run = 1;

  /** Whether the current run has had its end. */
  ended = false;

  /**
   * @param {number | null | undefined} run the event's run; none: the current one
   * @param {boolean} isTerminal whether it is a `job` event with a terminal status
   * @returns {"live" | "end" | "late"}
   */
  admit(run, isTerminal) {
    const of = run || this.run;
    if (of < this.run || (of === this.run && this.ended)) return "late";
    this.run = of;
    this.ended = isTerminal;
    return isTerminal ? "end" : "live";
  }
}
