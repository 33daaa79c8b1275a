/** A song that waits, is being separated, or has no stems. */

import { cancelJob, separateAgain } from "./api.js";
import { h } from "./dom.js";
import { inWords, progressBar } from "./songs.js";

export class Waiting {
  #state = h("p", { class: "state" });
  #bar = progressBar();
  #buttons = h("div", { class: "buttons" });
  #say;
  element = h("div", { class: "sheet waiting" });

  constructor(job, say) {
    this.#say = say;
    this.element.append(h("h2", {}, job.name), this.#bar, this.#state, this.#buttons);
    this.update(job);
  }

  update(job) {
    this.element.dataset.state = job.state;
    this.#state.textContent = inWords(job);
    this.#bar.hidden = !["queued", "running"].includes(job.state);
    this.#bar.value = job.progress ?? 0;
    const act = (title, action) =>
      h(
        "button",
        { type: "button", onclick: () => action().catch((error) => this.#say(error.message)) },
        title,
      );
    const again = async () => {
      location.hash = (await separateAgain(job.id, null)).id;
    };
    if (this.#buttons.dataset.state === job.state) return;
    this.#buttons.dataset.state = job.state;
    this.#buttons.replaceChildren(
      this.#bar.hidden ? act("Separate again", again) : act("Cancel", () => cancelJob(job.id)),
    );
  }

  press() {
    return false;
  }

  close() {}
}
