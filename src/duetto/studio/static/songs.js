/** The list of songs: those that wait, run or are done. */

import { cancelJob, deleteJob, separateAgain } from "./api.js";
import { clock, h, wait } from "./dom.js";

export const ENDED = ["done", "failed", "cancelled", "interrupted"];

/** What has become of a job, in words. */
export function inWords(job) {
  if (job.state === "queued")
    return job.place === 1 ? "Next in the queue" : `Number ${job.place} in the queue`;
  if (job.state === "running") {
    const percent = `${Math.floor(100 * job.progress)} %`;
    return job.seconds_left === null
      ? `Separating, ${percent}`
      : `Separating, ${percent}, ${wait(job.seconds_left)}`;
  }
  if (job.state === "done") return `Separated in ${job.seconds.toFixed(job.seconds < 10 ? 1 : 0)} s`;
  if (job.state === "failed") return job.error;
  if (job.state === "cancelled") return "Cancelled";
  return "Interrupted: the studio was stopped while it worked on this song";
}

/** A progress bar that is also one for screen readers. */
export function progressBar() {
  return h("progress", { max: 1, value: 0, "aria-label": "Progress" });
}

export class Songs {
  #rows = new Map(); // id -> {element, update}
  #list;
  #section;
  #act;

  constructor(section, act) {
    this.#section = section;
    this.#list = section.querySelector("ul");
    this.#act = act;
  }

  update(job) {
    let row = this.#rows.get(job.id);
    if (!row) {
      row = this.#row(job);
      const older = [...this.#rows.values()].filter(({ created }) => created < job.created);
      const next = older.sort((a, b) => b.created - a.created)[0]; // the newest song is the first
      this.#list.insertBefore(row.element, next?.element ?? null);
      this.#rows.set(job.id, row);
    }
    row.update(job);
    this.#section.hidden = false;
  }

  remove(id) {
    this.#rows.get(id)?.element.remove();
    this.#rows.delete(id);
    this.#section.hidden = this.#rows.size === 0;
  }

  markOpen(id) {
    for (const [key, { element }] of this.#rows) element.classList.toggle("open", key === id);
  }

  #row({ id, created }) {
    const name = h("a", { href: `#${id}`, class: "name" });
    const [facts, state, bar] = [h("span", { class: "hint" }), h("span", { class: "state" }), progressBar()];
    const act = (title, action) =>
      h("button", { type: "button", class: "quiet", onclick: () => this.#act(action) }, title);
    const cancel = act("Cancel", () => cancelJob(id));
    const again = act("Separate again", async () => {
      location.hash = (await separateAgain(id, null)).id;
    });
    const remove = act("Delete", () => deleteJob(id));
    const element = h(
      "li",
      {},
      h("div", { class: "what" }, name, facts),
      h("div", { class: "how" }, state, bar),
      h("div", { class: "buttons" }, cancel, again, remove),
    );
    const update = (job) => {
      element.dataset.state = job.state;
      name.textContent = job.name;
      facts.textContent = `${clock(job.duration_seconds)}, ${job.model}`;
      state.textContent = inWords(job);
      bar.hidden = job.state !== "running";
      bar.value = job.progress ?? 0;
      const hasEnded = ENDED.includes(job.state);
      cancel.hidden = hasEnded;
      again.hidden = !hasEnded || job.state === "done";
      remove.hidden = !hasEnded;
      for (const [button, verb] of [
        [cancel, "Cancel"],
        [again, "Separate again"],
        [remove, "Delete"],
      ]) {
        button.setAttribute("aria-label", `${verb}: ${job.name}`);
      }
    };
    return { element, created, update };
  }
}
