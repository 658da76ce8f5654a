/** For React 18 and later: hooks over one hub. Nothing here needs JSX or a build. */

import { createContext, createElement, useCallback, useContext, useMemo, useSyncExternalStore } from "react";
import { watchJob, watchJobs } from "./watched.js";

/** @import { ReactNode } from "react" */
/** @import { Milepost, Status } from "./milepost.js" */
/** @typedef {import("./watched.js").JobValue} JobValue */
/** @typedef {import("./watched.js").JobsValue} JobsValue */

const Hub = createContext(/** @type {Milepost | null} */ (null));

/**
 * Gives the hub to the hooks below it. It is made once, outside the components: `new Milepost(url, { token })`. It
 * connects when the first hook asks for something.
 * @param {{ hub: Milepost, children?: ReactNode }} props
 */
export const MilepostProvider = ({ hub, children }) => createElement(Hub.Provider, { value: hub }, children);

/**
 * The hub. Error outside of a MilepostProvider.
 * @returns {Milepost}
 */
export function useMilepost() {
  const hub = useContext(Hub);
  if (hub === null) throw new Error("there is no <MilepostProvider hub={…}> around this component");
  return hub;
}

/**
 * One job, live. Renders at most once a frame.
 * @param {string | number} id
 * @returns {Readonly<JobValue>}
 */
export function useJob(id) {
  const hub = useMilepost();
  const watched = useMemo(() => watchJob(hub, id), [hub, id]);
  return useSyncExternalStore(watched.subscribe, watched.read, watched.read);
}

/**
 * All jobs of the token, live. Renders at most once a frame.
 * @returns {Readonly<JobsValue>}
 */
export function useJobs() {
  const hub = useMilepost();
  const watched = useMemo(() => watchJobs(hub), [hub]);
  return useSyncExternalStore(watched.subscribe, watched.read, watched.read);
}

/**
 * The connection's status.
 * @returns {Readonly<Status>}
 */
export function useStatus() {
  const hub = useMilepost();
  const subscribe = useCallback(
    (/** @type {() => void} */ listener) => {
      hub.addEventListener("status", listener);
      return () => hub.removeEventListener("status", listener);
    },
    [hub],
  );
  const read = () => hub.status;
  return useSyncExternalStore(subscribe, read, read);
}
