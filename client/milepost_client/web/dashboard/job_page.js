// One job: its head, its graph, its nodes and when they ran, its log, and what came of it.

import { elementOf, inwardLink, setText } from "../client/view/element_of.js";
import { Graph, MOST as MOST_DRAWN } from "../client/view/graph.js";
import { Head } from "../client/view/head.js";
import { Nodes } from "../client/view/nodes.js";
import { Paces } from "../client/view/paces.js";
import { Redraw } from "../client/view/redraw.js";
import { stepsOf } from "../client/view/steps.js";
import { ENDS, brief, count, moment, percent, stateOf } from "../client/view/text.js";
import { Again } from "./again.js";
import { Answer } from "./answer.js";
import { Cancel } from "./cancel.js";
import { LogView } from "./log_view.js";
import { ArtifactsView, ErrorView, ResultView } from "./outcome.js";
import { parse, write } from "./route.js";
import { RunsView } from "./runs_view.js";
import * as session from "./session.js";
import { Silence } from "./silence.js";
import { Timeline } from "./timeline.js";

/**
 * @typedef {import("../client/shapes.js").JobView} JobView
 * @typedef {import("../client/view/steps.js").Step} Step
 * @typedef {import("./main.js").Surroundings} Surroundings
 */

const GAPS = Object.freeze({
  retention: "events from before are not stored any more",
  epoch: "the log was made anew, what was between is not known",
  unavailable: "there is no log, what was between is not known",
});

/** The fragment of the list that this page was opened from, so that its filter stands when somebody goes back. */
let lastList = "#/";
addEventListener("hashchange", ({ newURL }) => {
  // written anew: the fragment that came may have had a token in it
  const { place } = parse(new URL(newURL).hash);
  if (place.page === "list") lastList = write(place);
});

/** One job's page; everything is drawn at most once a frame, and only where it changed. */
export class JobPage {
  #around;
  #job;
  #redraw = new Redraw(() => this.#draw());
  #closed = new AbortController();
  #paces = new Paces();
  #head = new Head();
  #graph = new Graph();
  #nodes = new Nodes();
  #timeline = new Timeline();
  #log = new LogView();
  #error = new ErrorView();
  #result = new ResultView();
  #artifacts = new ArtifactsView();
  #runs;
  #silence;
  #answer = new Answer();
  #cancel;
  #again;
  #title = elementOf("h1", { class: "said" });
  #waiting = elementOf("section", { class: "panel waiting" });
  #notes = elementOf("ul", { class: "notes", "aria-label": "notes" });
  #parts;
  element = elementOf("div", { class: "job-page" });

  /** @type {JobView | null} */
  #drawn = null;
  /** @type {readonly Step[]} */
  #steps = [];
  #run = 0;
  #gaps = new Set(/** @type {string[]} */ ([]));
  #refusal = "";
  #notesText = "";

  /**
   * @param {Surroundings} around
   * @param {string} id
   */
  constructor(around, id) {
    this.#around = around;
    this.#job = around.hub.job(id);
    const { signal } = this.#closed;
    this.#runs = new RunsView(id, session.token, () => around.clock.now, signal);
    this.#silence = new Silence(id, session.token, this.#redraw.ask, signal);
    this.#cancel = new Cancel(() => this.#job.cancel(), this.#answer);
    const goTo = this.#goTo.bind(this);
    this.#again = new Again(around.hub, id, this.#answer, this.#redraw.ask, goTo, signal);
    this.#parts = this.#build();
    this.#listen();
    this.#begin();
    this.#draw();
  }

  /** Where Escape goes. */
  get back() {
    return lastList;
  }

  close() {
    this.#closed.abort();
    this.#redraw.cancel();
    this.#job.close();
  }

  #build() {
    const head = elementOf("section", { class: "panel job-head", "aria-label": "job" });
    const title = elementOf("div", { class: "title" }, this.#title, this.#cancel.element, this.#again.element);
    head.append(title, this.#head.element, this.#answer.element);
    const graph = section("Graph", this.#graph.element, "graph-panel");
    const nodes = section("Nodes", this.#nodes.element, "nodes-panel");
    const timeline = section("Timeline", this.#timeline.element, "timeline-panel");
    const log = section("Log", this.#log.element, "log-panel");
    const artifacts = section("Artifacts", this.#artifacts.element, "artifacts-panel");
    const result = section("", this.#result.element, "result-panel");
    const runs = section("Runs", this.#runs.element, "runs-panel");
    const both = elementOf("div", { class: "columns" }, nodes, timeline);
    const side = elementOf("div", { class: "side" }, result, artifacts, runs);
    const below = elementOf("div", { class: "columns below" }, log, side);
    const crumb = inwardLink(lastList, { class: "crumb" }, "‹ Jobs");
    this.element.append(crumb, this.#waiting, head, this.#notes, this.#error.element, graph, both, below);
    return { head, graph, both, below, artifacts, result, timeline, nodes };
  }

  #listen() {
    const { signal } = this.#closed;
    const job = this.#job;
    job.addEventListener("change", this.#redraw.soon, { signal });
    job.addEventListener("snapshot", () => this.#takeTail(), { signal });
    job.addEventListener("gap", (event) => this.#takeGap(event), { signal });
    job.addEventListener("log", (event) => this.#takeLine(event), { signal });
    job.addEventListener("end", (event) => this.#tellEnd(event), { signal });
    job.addEventListener("error", (event) => this.#refused(event), { signal });
    this.#nodes.element.addEventListener("more", this.#redraw.ask, { signal });
    this.#around.clock.addEventListener("tick", this.#redraw.ask, { signal });
    this.#around.hub.addEventListener("status", this.#redraw.ask, { signal });
  }

  /** A handle on a job that is already watched has no snapshot to come. */
  #begin() {
    if (!this.#job.synced) return;
    this.#run = this.#job.state.run;
    this.#takeTail();
  }

  #takeTail() {
    this.#sameRun();
    this.#log.take(this.#job.state.logTail);
  }

  /** @param {Event} event */
  #takeLine(event) {
    this.#sameRun();
    const { payload, at } = /** @type {import("../client/job.js").JobEvent} */ (event);
    const level = typeof payload.data?.level === "string" ? payload.data.level : "info";
    const when = typeof payload.at === "string" ? payload.at : at;
    this.#log.add({ at: isoOf(when) ?? new Date().toISOString(), level, message: payload.message ?? "" });
  }

  /** @param {Event} event */
  #takeGap(event) {
    const { payload } = /** @type {import("../client/job.js").JobEvent} */ (event);
    const words = GAPS[/** @type {keyof typeof GAPS} */ (payload.reason)] ?? "some events are missing here";
    this.#gaps.add(words);
    this.#log.mark(words);
  }

  /** Another run starts with nothing of the one before. */
  #sameRun() {
    const { run } = this.#job.state;
    if (run !== this.#run && this.#run !== 0) this.#log.clear();
    this.#run = run;
  }

  /** @param {Event} event */
  #tellEnd(event) {
    const { end } = /** @type {import("../client/job.js").JobEvent} */ (event);
    const { error } = this.#job.state;
    const why = end === "failed" && error?.message ? `: ${brief(error.message, 200)}` : "";
    this.#around.frame.announce(`${nameOf(this.#job.state)} ${end}${why}`);
  }

  /** @param {string | number} job another one, just submitted */
  #goTo(job) {
    this.#around.frame.announce(`Submitted as job ${brief(String(job))}`);
    location.hash = write({ page: "job", job: String(job) });
  }

  /** @param {Event} event */
  #refused(event) {
    const { error } = /** @type {import("../client/errors.js").FailureEvent} */ (event);
    this.#refusal = error.message;
    this.#redraw.ask();
  }

  #draw() {
    const { now, standing } = this.#around.clock;
    const view = this.#silence.of(this.#job.state);
    if (standing) this.#silence.look(view, now);
    const isKnown = this.#job.synced && view.status !== "unknown";
    this.#showWaiting(isKnown, view);
    this.#showNotes(view);
    if (isKnown) {
      if (view !== this.#drawn) this.#change(view);
      this.#tick(view, now);
      this.#log.draw();
    }
    this.#drawn = view;
  }

  /**
   * What only another view changes.
   * @param {JobView} view
   */
  #change(view) {
    this.#sameRun();
    this.#paces.take(view);
    const last = this.#drawn;
    const isSame = last !== null && view.nodes === last.nodes && view.plan === last.plan && view.status === last.status;
    if (!isSame) this.#steps = stepsOf(view);
    setText(this.#title, nameOf(view));
    this.#error.show(ENDS.has(view.status) ? view.error : null, failedIn(view, this.#steps));
    const { artifacts, result, graph, both, timeline } = this.#parts;
    result.hidden = view.result === null || view.result === undefined;
    if (!result.hidden) this.#result.show(view.result);
    artifacts.hidden = view.artifacts.length === 0;
    this.#artifacts.show(view.artifacts);
    this.#runs.show(view);
    graph.hidden = view.plan === null || view.plan.nodes.length === 0 || this.#steps.length > MOST_DRAWN;
    both.hidden = this.#steps.length === 0;
    timeline.hidden = this.#steps.every(({ node }) => node === null);
  }

  /**
   * What the clock changes too.
   * @param {JobView} view
   * @param {number} now
   */
  #tick(view, now) {
    const state = stateOf(view);
    this.#head.show(view, now, this.#paces);
    this.#graph.show(view.plan, this.#steps, this.#paces, now);
    this.#nodes.show(this.#steps, this.#paces, now);
    this.#timeline.show(this.#steps, now, moment(view.endedAt));
    this.#offer(view, state);
    document.title = titleOf(view, state);
  }

  /**
   * The buttons: one for a job that goes on, the other for one that does not.
   * @param {JobView} view
   * @param {string} state
   */
  #offer(view, state) {
    const { grant } = this.#around.hub;
    const isOver = ENDS.has(view.status) && !view.willRetry;
    const mayCancel = grant?.scope.includes("cancel") ?? false;
    this.#cancel.show(mayCancel && !isOver, state === "cancelling");
    // a token for certain jobs is good for no new one
    const maySubmit = grant?.jobs === null && grant.scope.includes("submit");
    this.#again.show(maySubmit && isOver);
  }

  /**
   * @param {boolean} isKnown
   * @param {JobView} view
   */
  #showWaiting(isKnown, view) {
    const { head, graph, both, below } = this.#parts;
    this.#waiting.hidden = isKnown;
    for (const part of [head, below]) part.hidden = !isKnown;
    if (isKnown) return;
    for (const part of [graph, both]) part.hidden = true;
    const id = brief(String(view.jobId));
    document.title = `job ${id} – Milepost`;
    const nobody = `Nobody has heard of job ${id} yet. This page will show it when it reports.`;
    const words = this.#refusal || (this.#job.synced ? nobody : `Asking the hub for job ${id}…`);
    if (this.#waiting.textContent !== words) this.#waiting.replaceChildren(elementOf("p", {}, words));
  }

  /** @param {JobView} view */
  #showNotes(view) {
    const notes = [...this.#gaps].map((words) => `Some events are missing: ${words}.`);
    const hasLog = this.#around.hub.status.durable !== false;
    if (this.#job.synced && !hasLog) notes.push("No log: what happened before you came is not known.");
    if (view.willRetry) notes.push(`${view.status === "failed" ? "Failed" : "Ended"}, another run follows.`);
    const cut = view.truncated.map((name) => brief(name, 40)).join(", ");
    if (cut !== "") notes.push(`Too much to show all of it: ${cut} cut.`);
    const nodes = this.#steps.length;
    const isLarge = view.plan !== null && nodes > MOST_DRAWN;
    if (isLarge) notes.push(`The plan has ${count(nodes)} nodes: too many for a graph, they are in the list.`);
    const isSignedOut = this.#around.hub.status.state === "refused";
    if (this.#refusal !== "" && this.#job.synced && !isSignedOut) notes.push(this.#refusal);
    const text = notes.join("\n");
    if (text === this.#notesText) return;
    this.#notesText = text;
    this.#notes.replaceChildren(...notes.map((words) => elementOf("li", {}, words)));
  }
}

/**
 * @param {string} title none where the content brings its own
 * @param {HTMLElement} content
 * @param {string} kind
 */
function section(title, content, kind) {
  const panel = elementOf("section", { class: `panel ${kind}` });
  if (title !== "") panel.append(elementOf("h2", {}, title));
  panel.append(content);
  return panel;
}

/** @param {JobView} view */
const nameOf = (view) => brief(view.name ?? "", 300) || `Job ${brief(String(view.jobId))}`;

/**
 * @param {JobView} view
 * @param {string} state
 */
function titleOf(view, state) {
  const how = state === "running" && view.fraction !== null ? percent(view.fraction) : state;
  return `${how} · ${brief(view.name ?? "", 80) || `job ${view.jobId}`} – Milepost`;
}

/**
 * @param {JobView} view
 * @param {readonly Step[]} steps
 */
function failedIn(view, steps) {
  if (view.status !== "failed") return "";
  const failed = steps.filter(({ state }) => state === "failed").map(({ name }) => name);
  return failed.length > 3 ? `${failed.slice(0, 3).join(", ")} and ${failed.length - 3} more` : failed.join(", ");
}

/** @param {string | null} at */
function isoOf(at) {
  const time = moment(at);
  return time === null ? null : new Date(time).toISOString();
}
