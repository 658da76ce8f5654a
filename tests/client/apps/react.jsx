// The least React app: one job, live. In StrictMode, which subscribes, leaves and subscribes again.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Milepost } from "milepost";
import { MilepostProvider, useJob, useJobs, useStatus } from "milepost/react";

const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const hub = new Milepost(asked.hub, { token: asked.token, linger: 0 });
window.renders = 0;

function Progress({ id }) {
  const { state, synced, ended } = useJob(id);
  window.renders++;
  return (
    <section>
      <h1>{state.name}</h1>
      <p id="status">{synced ? state.status : "…"}</p>
      <p id="ended">{String(ended)}</p>
      {state.nodes.map((node) => (
        <p className="node" key={node.nodeId}>
          {node.nodeName} {node.rowCount}
        </p>
      ))}
    </section>
  );
}

function List() {
  const { list } = useJobs();
  return <p id="jobs">{list.map((job) => job.jobId).join()}</p>;
}

const Connection = () => <p id="connection">{useStatus().state}</p>;

window.mount = () => {
  const place = document.body.appendChild(document.createElement("main"));
  const root = createRoot(place);
  root.render(
    <StrictMode>
      <MilepostProvider hub={hub}>
        <Progress id={asked.job} />
        <List />
        <Connection />
      </MilepostProvider>
    </StrictMode>,
  );
  return () => {
    root.unmount();
    place.remove();
  };
};
