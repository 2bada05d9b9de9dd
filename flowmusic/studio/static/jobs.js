// Jobs that wait and run, with their progress and a way to end them.

import * as api from "./api.js";
import { attempt, h, iconButton, place, say } from "./dom.js";

const over = (job) => ["done", "failed", "cancelled"].includes(job.state);

export class Jobs {
  constructor({ store }) {
    this.store = store;
    this.rows = new Map();
    this.list = h("ul", { className: "jobs", "aria-label": "Work in progress" });
    this.element = h("div", { className: "jobs-panel", "aria-live": "polite" }, this.list);
    store.watch((state) => [state.jobs], ([jobs]) => this.#draw(jobs.filter((job) => !over(job))));
  }

  /** News of a job from the server. */
  changed(job) {
    const { jobs } = this.store.state;
    const before = jobs.find(({ id }) => id === job.id);
    this.store.set({ jobs: before ? jobs.map((other) => (other.id === job.id ? job : other)) : [...jobs, job] });
    if (before && over(before)) return;
    if (job.state === "failed") say(job.error ?? "The work failed.", { bad: true });
    if (job.state === "cancelled") say("Cancelled.");
  }

  async refresh() {
    const jobs = await api.jobs().catch(() => null);
    if (jobs) this.store.set({ jobs });
  }

  #draw(jobs) {
    for (const [id, row] of this.rows) {
      if (jobs.some((job) => job.id === id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const job of jobs) {
      if (!this.rows.has(job.id)) this.rows.set(job.id, this.#row(job));
      this.rows.get(job.id).show(job);
    }
  }

  #row(job) {
    const stage = h("span", { className: "stage" });
    const bar = h("div", { className: "progress", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 });
    const element = h("li", { className: "job" }, h("div", { className: "job-line" }, stage,
      iconButton("close", "Cancel", () => attempt(() => api.cancelJob(job.id)))), bar); // prettier-ignore
    this.list.append(element);
    const show = ({ kind, state, stage: name, share }) => {
      const verb = kind === "extract" ? "Listening to the file" : "Generating";
      stage.textContent = state === "waiting" ? "Waits its turn" : name || verb;
      bar.setAttribute("aria-valuenow", Math.round((share ?? 0) * 100));
      element.classList.toggle("waiting", state === "waiting");
      place(bar, { "--share": String(share ?? 0) });
    };
    return { element, show };
  }
}
