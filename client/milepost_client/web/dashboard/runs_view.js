// The runs of a job: read from its log when there was more than one, or when asked for; the current one as it goes on.

import { elementOf, setAttribute } from "../client/view/element_of.js";
import { Pill } from "../client/view/pill.js";
import { JobState } from "../client/state.js";
import { ENDS, brief, lasting, moment, timeOfDay } from "../client/view/text.js";

/** @typedef {string | null} Time RFC 3339 */
/**
 * @typedef {Readonly<{run: number, status: string, queuedAt: Time, startedAt: Time, endedAt: Time,
 *   error: string | null}>} Run
 * @typedef {import("../client/shapes.js").JobView} JobView
 */

/** Pages of the log that are read, and events of one. */
const MOST_PAGES = 40;
const LIMIT = 500;

/** A button at first, then a list. */
export class RunsView {
  #job;
  #token;
  #now;
  #signal;
  #read = 0;
  /** What the log had, oldest first. @type {readonly Run[]} */
  #known = [];
  /** The current one. @type {Run | null} */
  #current = null;
  #ask = elementOf("button", { type: "button" }, "Show runs");
  #words = elementOf("p", { class: "quiet", role: "status" });
  #list = elementOf("ol", { class: "runs" });
  element = elementOf("div", {}, this.#list, this.#words, this.#ask);

  /**
   * @param {string} job
   * @param {() => string | null} token
   * @param {() => number} now the hub's time, ms
   * @param {AbortSignal} signal the page was left: nothing more is read
   */
  constructor(job, token, now, signal) {
    this.#job = job;
    this.#token = token;
    this.#now = now;
    this.#signal = signal;
    this.#ask.addEventListener("click", () => void this.read());
  }

  /** @param {JobView} view of the current run; another one than the last time makes the list be read anew */
  show(view) {
    const { run } = view;
    const last = this.#current;
    this.#current = runOf(view);
    if (run > 1 && run !== this.#read) void this.read(run);
    else if (last?.status !== view.status || last.startedAt !== view.startedAt) this.#draw();
  }

  /** What the log had, but for the run that is watched: of that more is known. */
  #draw() {
    if (this.#known.length === 0) return;
    const current = this.#current;
    const others = this.#known.filter(({ run }) => run !== current?.run);
    const runs = [...others, ...(current === null ? [] : [current])].sort((one, other) => other.run - one.run);
    this.#list.replaceChildren(...runs.map((run, index) => lineOf(run, index === 0, this.#now())));
  }

  /** @param {number} [run] */
  async read(run = 1) {
    this.#read = run;
    this.#ask.hidden = true;
    this.#words.replaceChildren("Reading the log…");
    try {
      const { runs, whole } = await this.#fetch();
      this.#known = runs;
      this.#draw();
      const found = runs.length === 0 ? "The log has no events." : "";
      this.#words.replaceChildren(whole ? found : "The log is longer than what was read.");
    } catch (error) {
      this.#words.replaceChildren(error instanceof Error ? error.message : String(error));
      this.#ask.hidden = false;
    }
  }

  async #fetch() {
    const state = new JobState(this.#job, { logLines: 1 });
    /** @type {Map<number, Run>} */
    const runs = new Map();
    let after = "start";
    for (let page = 0; page < MOST_PAGES; page++) {
      const answer = await this.#page(after);
      for (const { payload, at } of answer.events) take(runs, state, payload, at ?? null);
      if (!answer.more || answer.cursor === null) return { runs: [...runs.values()], whole: true };
      after = answer.cursor;
    }
    return { runs: [...runs.values()], whole: false };
  }

  /**
   * @param {string} after
   * @returns {Promise<{events: {payload: unknown, at?: string}[], cursor: string | null, more: boolean}>}
   */
  async #page(after) {
    const response = await fetch(`/api/jobs/${this.#job}/events?after=${encodeURIComponent(after)}&limit=${LIMIT}`, {
      signal: this.#signal,
      headers: { Authorization: `Bearer ${this.#token() ?? ""}` },
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? answer.title ?? `the hub answered ${response.status}`);
    return answer;
  }
}

/**
 * @param {Map<number, Run>} runs
 * @param {JobState} state
 * @param {unknown} payload
 * @param {string | null} at
 */
function take(runs, state, payload, at) {
  const known = runs.get(state.run);
  const verdict = state.apply(payload, at);
  if (verdict === null || verdict === "late") return;
  // the view is made anew for every event it is asked after: only where something about the run may have changed
  if (verdict !== "end" && known !== undefined && known.run === state.run && known.startedAt !== null) return;
  runs.set(state.run, runOf(state.view));
}

/**
 * @param {JobView} view
 * @returns {Run}
 */
const runOf = ({ run, status, queuedAt, startedAt, endedAt, error }) =>
  Object.freeze({ run, status, queuedAt, startedAt, endedAt, error: error?.message ?? null });

/**
 * @param {Run} run
 * @param {boolean} isLatest
 * @param {number} now
 */
function lineOf({ run, status, queuedAt, startedAt, endedAt, error }, isLatest, now) {
  const pill = new Pill();
  // the next one began without an end of this one: why, nobody has said
  const isUnfinished = !isLatest && !ENDS.has(status);
  if (isUnfinished) pill.show("unknown", "not finished");
  else pill.show(status);
  const began = moment(startedAt) ?? moment(queuedAt);
  const ended = moment(endedAt);
  const took = startedAt !== null && began !== null && ended !== null ? `took ${lasting(ended - began)}` : "";
  const when = [began === null ? "" : timeOfDay(began, now), took].filter(Boolean).join(", ");
  const line = elementOf(
    "li",
    {},
    elementOf("span", { class: "which" }, `Run ${run}`),
    pill.element,
    elementOf("span", { class: "quiet" }, when),
  );
  if (error) line.append(elementOf("span", { class: "said why cut", title: brief(error, 1_000) }, brief(error)));
  setAttribute(line, "data-state", isUnfinished ? "unknown" : status);
  return line;
}
