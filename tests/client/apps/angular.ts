// The least Angular app: standalone, without zones; one job, live, as a signal and by the service's callbacks.

import "@angular/compiler";
import { Component, inject, provideZonelessChangeDetection, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import { MilepostService, injectJob, injectJobs, provideMilepost } from "milepost/angular";

declare global {
  interface Window {
    mount: () => Promise<() => void>;
    told: number;
  }
}

const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
window.told = 0;

@Component({
  selector: "job-progress",
  template: `
    <section>
      <h1>{{ job().state.name }}</h1>
      <p id="status">{{ job().synced ? job().state.status : "…" }}</p>
      <p id="ended">{{ job().ended }}</p>
      @for (node of job().state.nodes; track node.nodeId) {
        <p class="node">{{ node.nodeName }} {{ node.rowCount }}</p>
      }
      <p id="jobs">{{ ids() }}</p>
      <p id="connection">{{ service.state().state }}</p>
    </section>
  `,
})
class Progress {
  id = signal(asked["job"] ?? "");
  job = injectJob(this.id);
  jobs = injectJobs();
  service = inject(MilepostService);

  constructor() {
    this.service.onProgress(() => window.told++);
    this.service.subscribeToJob(this.id());
  }

  ids() {
    return this.jobs().list.map((job) => job.jobId).join();
  }
}

window.mount = async () => {
  const place = document.body.appendChild(document.createElement("job-progress"));
  const app = await bootstrapApplication(Progress, {
    providers: [provideZonelessChangeDetection(), provideMilepost(asked["hub"], { token: asked["token"] ?? "", linger: 0 })],
  });
  return () => {
    app.destroy();
    place.remove();
  };
};
