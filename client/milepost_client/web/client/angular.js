/** For Angular 19 and later: signals and a service. No decorators, so no build is needed for this file. */

import { DestroyRef, InjectionToken, computed, effect, inject, makeEnvironmentProviders, signal } from "@angular/core";
import { Milepost } from "./milepost.js";
import { watchJob, watchJobs } from "./watched.js";

/** @import { EnvironmentProviders, Signal } from "@angular/core" */
/** @import { Job, JobEvent, Options, Status } from "./milepost.js" */
/** @import { JobsValue, JobValue, Watched } from "./watched.js" */

/** @type {InjectionToken<Milepost>} */
const HUB = new InjectionToken("a Milepost hub");

/**
 * The hub for an application or a route; it is closed with it.
 * @param {string | URL | undefined} url the hub's, this page's origin when there is none
 * @param {Options} options
 * @returns {EnvironmentProviders}
 */
export const provideMilepost = (url, options) =>
  makeEnvironmentProviders([
    { provide: HUB, useFactory: () => hubOf(url, options) },
    { provide: MilepostService, useFactory: () => new MilepostService(inject(HUB), inject(DestroyRef)) },
  ]);

/**
 * @param {string | URL | undefined} url
 * @param {Options} options
 */
function hubOf(url, options) {
  const hub = new Milepost(url, options);
  inject(DestroyRef).onDestroy(() => hub.close());
  return hub;
}

/** The hub. To be called where `inject` may be. */
export const injectMilepost = () => inject(HUB);

/**
 * One job, live, until the component is destroyed; it changes at most once a frame.
 * @param {string | number | (() => string | number)} id or a signal of it, such as an input
 * @returns {Signal<Readonly<JobValue>>}
 */
export function injectJob(id) {
  const hub = inject(HUB);
  return followed(() => watchJob(hub, typeof id === "function" ? id() : id));
}

/**
 * All jobs of the token, live, until the component is destroyed; it changes at most once a frame.
 * @returns {Signal<Readonly<JobsValue>>}
 */
export function injectJobs() {
  const hub = inject(HUB);
  return followed(() => watchJobs(hub));
}

/**
 * @template {EventTarget & { close(): void }} Handle
 * @template Value
 * @param {() => Watched<Handle, Value>} watch
 * @returns {Signal<Value>}
 */
function followed(watch) {
  const watched = computed(watch);
  const told = signal(0);
  effect((onCleanup) => onCleanup(watched().subscribe(() => told.update((times) => times + 1))));
  return computed(() => {
    told();
    return watched().read();
  });
}

/** Jobs by callback, for services that are written so. Inject it: `inject(MilepostService)`. */
export class MilepostService {
  #hub;
  /** Jobs, and who has asked for them. @type {Map<string, { job: Job, owners: Set<object> }>} */
  #jobs = new Map();
  /** @type {Set<(event: JobEvent, job: Job) => void>} */
  #listeners = new Set();
  /** The connection's status. @type {Signal<Readonly<Status>>} */
  state;

  /**
   * @param {Milepost} hub
   * @param {DestroyRef} destroyed
   */
  constructor(hub, destroyed) {
    this.#hub = hub;
    const state = signal(hub.status);
    const changed = () => state.set(hub.status);
    hub.addEventListener("status", changed);
    this.state = state.asReadonly();
    destroyed.onDestroy(() => {
      hub.removeEventListener("status", changed);
      this.disconnect();
    });
  }

  /**
   * Follow a job: until everybody who has asked for it has ended that. Its events are told once, however many have.
   * @param {string | number} id
   * @returns {() => void} ends it
   */
  subscribeToJob(id) {
    const key = String(id);
    const followed = this.#jobs.get(key) ?? { job: this.#follow(id), owners: new Set() };
    this.#jobs.set(key, followed);
    const owner = {};
    followed.owners.add(owner);
    return () => {
      followed.owners.delete(owner);
      if (followed.owners.size) return;
      followed.job.close();
      if (this.#jobs.get(key) === followed) this.#jobs.delete(key);
    };
  }

  /** @param {string | number} id */
  #follow(id) {
    const job = this.#hub.job(id);
    const tell = (/** @type {Event} */ event) => this.#tell(/** @type {JobEvent} */ (event), job);
    job.addEventListener("snapshot", tell);
    job.addEventListener("event", tell);
    return job;
  }

  /**
   * @param {(event: JobEvent, job: Job) => void} listener called with each event of each job followed, and with
   *   snapshots; `event.payload` is it as published, `job.state` what all of them amount to
   * @returns {() => void} ends it
   */
  onProgress(listener) {
    const own = (/** @type {JobEvent} */ event, /** @type {Job} */ job) => listener(event, job);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** Follow no job any more. */
  disconnect() {
    for (const { job } of this.#jobs.values()) job.close();
    this.#jobs.clear();
  }

  /**
   * @param {JobEvent} event
   * @param {Job} job
   */
  #tell(event, job) {
    for (const listener of [...this.#listeners]) listener(event, job);
  }
}
