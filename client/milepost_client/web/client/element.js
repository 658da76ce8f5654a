// <milepost-job job="42" hub="https://…" token="…">: one job's head, graph and nodes, anywhere.

import { Milepost } from "./milepost.js";
import { Clock } from "./view/clock.js";
import { elementOf, setAttribute, setText } from "./view/element_of.js";
import { Graph } from "./view/graph.js";
import { Head } from "./view/head.js";
import { look } from "./view/look.js";
import { Nodes } from "./view/nodes.js";
import { Paces } from "./view/paces.js";
import { Redraw } from "./view/redraw.js";
import { stepsOf } from "./view/steps.js";
import { ENDS, brief } from "./view/text.js";

/** @import { Job } from "./job.js" */
/** @import { JobView } from "./shapes.js" */
/** @import { Step } from "./view/steps.js" */

/** A hub that elements share: those with the same address and token have one connection. */
class Shared {
  /** @type {Map<string, Shared>} */
  static #all = new Map();
  #users = 0;
  #key;
  hub;

  /**
   * @param {string} key
   * @param {Milepost} hub
   */
  constructor(key, hub) {
    this.#key = key;
    this.hub = hub;
  }

  /**
   * @param {string | undefined} url the hub's; this page's origin when there is none
   * @param {string} token
   */
  static of(url, token) {
    const key = JSON.stringify([url, token]);
    const shared = Shared.#all.get(key) ?? new Shared(key, new Milepost(url, { token }));
    Shared.#all.set(key, shared);
    shared.#users++;
    return shared;
  }

  release() {
    if (--this.#users > 0) return;
    Shared.#all.delete(this.#key);
    this.hub.close();
  }
}

/** What is there while an element shows a job. */
class Shown {
  #hub;
  #release;
  #clock;
  #job;
  #redraw = new Redraw(() => this.#draw());
  #closed = new AbortController();
  #paces = new Paces();
  #title = elementOf("h2", { class: "said" });
  #head = new Head();
  #error = elementOf("div", { class: "broken said" });
  #note = elementOf("div", { class: "note", role: "status" });
  #graph = new Graph();
  #nodes = new Nodes();
  /** @type {JobView | null} */
  #drawn = null;
  /** @type {readonly Step[]} */
  #steps = [];
  #refusal = "";
  parts;

  /**
   * @param {Milepost} hub
   * @param {string} job
   * @param {() => void} release
   */
  constructor(hub, job, release) {
    this.#hub = hub;
    this.#release = release;
    this.#clock = new Clock(hub);
    this.#job = hub.job(job);
    const words = [this.#title, this.#note, this.#head.element, this.#error];
    this.parts = elementOf("div", { class: "shown" }, ...words, this.#graph.element, this.#nodes.element);
    const { signal } = this.#closed;
    this.#job.addEventListener("change", this.#redraw.soon, { signal });
    this.#job.addEventListener("error", (event) => this.#refused(event), { signal });
    this.#nodes.element.addEventListener("more", this.#redraw.ask, { signal });
    this.#clock.addEventListener("tick", this.#redraw.ask, { signal });
    hub.addEventListener("status", this.#redraw.ask, { signal });
    this.#draw();
  }

  close() {
    this.#closed.abort();
    this.#redraw.cancel();
    this.#clock.close();
    this.#job.close();
    this.#release();
  }

  /** @param {Event} event */
  #refused(event) {
    this.#refusal = /** @type {import("./errors.js").FailureEvent} */ (event).error.message;
    this.#redraw.ask();
  }

  #draw() {
    const view = this.#job.state;
    const isKnown = this.#job.synced && view.status !== "unknown";
    setAttribute(this.parts, "class", this.#clock.standing ? "shown" : "shown still");
    setText(this.#note, this.#words(isKnown));
    this.#note.hidden = this.#note.textContent === "";
    for (const part of [this.#head.element, this.#nodes.element]) part.hidden = !isKnown;
    if (view !== this.#drawn) this.#change(view);
    this.#drawn = view;
    const { now } = this.#clock;
    this.#graph.show(isKnown ? view.plan : null, this.#steps, this.#paces, now);
    if (!isKnown) return;
    this.#head.show(view, now, this.#paces);
    this.#nodes.show(this.#steps, this.#paces, now);
  }

  /** @param {JobView} view */
  #change(view) {
    this.#paces.take(view);
    this.#steps = stepsOf(view);
    setText(this.#title, brief(view.name ?? "", 300) || `Job ${brief(String(view.jobId))}`);
    const error = ENDS.has(view.status) ? brief(view.error?.message ?? "", 1_000) : "";
    setText(this.#error, error);
    this.#error.hidden = error === "";
  }

  /**
   * What there is to say of the connection, and of a job that is not there.
   * @param {boolean} isKnown
   */
  #words(isKnown) {
    const { state, reason, upstream } = this.#hub.status;
    if (state === "refused") return `refused: ${reason ?? "the hub does not take this token"}`;
    if (state === "offline") return "offline: clocks stand still";
    if (state === "reconnecting") return "reconnecting: clocks stand still";
    if (state === "connected" && upstream === "down") return "the hub has lost NATS: nothing arrives until it is back";
    if (this.#refusal !== "" || isKnown) return this.#refusal;
    return this.#job.synced ? "nobody has heard of this job yet" : "connecting";
  }
}

/**
 * A job, drawn live where the element stands.
 *
 * Attributes: `job`, its id; `hub`, the hub's address, this page's origin without one; `token`. All of them may change.
 * Properties: `hub`, a `Milepost` of the page's own in place of the two attributes.
 */
export class MilepostJob extends HTMLElement {
  static observedAttributes = ["job", "hub", "token"];
  /** @type {Milepost | null} */
  #own = null;
  /** @type {Shown | null} */
  #shown = null;
  #asked = false;
  #root = this.attachShadow({ mode: "open" });

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [look()];
  }

  /** The page's own hub; null when the attributes say which. */
  get hub() {
    return this.#own;
  }

  set hub(hub) {
    this.#own = hub;
    this.#again();
  }

  connectedCallback() {
    // set before the element was defined, the property hides what the class has for it
    if (Object.hasOwn(this, "hub")) {
      const { hub } = this;
      // @ts-expect-error -- it is the class's again
      delete this.hub;
      this.hub = hub;
    }
    this.#again();
  }

  disconnectedCallback() {
    this.#again();
  }

  attributeChangedCallback() {
    this.#again();
  }

  /** Once for all attributes that change together, and for an element that only moves. */
  #again() {
    if (this.#asked) return;
    this.#asked = true;
    queueMicrotask(() => {
      this.#asked = false;
      this.#show();
    });
  }

  #show() {
    const before = this.#shown;
    this.#shown = this.isConnected ? this.#open() : null;
    // after the new one has taken its share of the connection: it need not be made anew
    before?.close();
    this.#root.replaceChildren(...(this.#shown === null ? [] : [this.#shown.parts]));
  }

  #open() {
    const job = this.getAttribute("job");
    if (job === null || job === "") return null;
    if (this.#own !== null) return new Shown(this.#own, job, () => {});
    const token = this.getAttribute("token");
    if (token === null || token === "") return null;
    const shared = Shared.of(this.getAttribute("hub") ?? undefined, token);
    return new Shown(shared.hub, job, () => shared.release());
  }
}

if (!customElements.get("milepost-job")) customElements.define("milepost-job", MilepostJob);
