/** For researchers: another model beside this one, the difference of their estimates, scores by references. */

import { differenceUrl, download, putReference, separateAgain } from "./api.js";
import { h } from "./dom.js";
import { options } from "./models.js";
import { STEMS } from "./balance.js";

const WORDS = { vocals: /voc|voice|sing/i, accompaniment: /acc|instr|music|back|karaoke/i };

/** Which file of a folder is the reference of which stem, by its name: {vocals, accompaniment}. */
export function findReferences(files) {
  const references = {};
  for (const stem of STEMS) {
    const found = files.filter(
      ({ name }) => WORDS[stem].test(name) && !WORDS[STEMS.find((other) => other !== stem)].test(name),
    );
    if (found.length !== 1) {
      throw new Error(
        `The folder has ${found.length || "no"} files for the reference of the ${stem}; name one of each "vocals" and "accompaniment"`,
      );
    }
    references[stem] = found[0];
  }
  return references;
}

/** SDR, SIR and SAR of a stem, or what has become of the scoring. */
export function scoreLine(job, stem) {
  if (job.scoring === "queued" || job.scoring === "running") return "Scoring…";
  if (job.scoring !== "done") return "";
  const value = (number) => (number === null ? "infinite" : `${number.toFixed(2)} dB`);
  const { sdr, sir, sar } = job.scores[stem];
  return `SDR ${value(sdr)}, SIR ${value(sir)}, SAR ${value(sar)}`;
}

export class Research {
  #say;
  #jobs;
  #job;
  #other;
  #models;
  #compared = h("select", { "aria-label": "Compare with", onchange: () => this.#compare() });
  #state = h("p", { class: "hint", role: "status" });
  element;

  /** `other` is the job that `job` is compared with, or null; `jobs` are all. */
  constructor({ job, other, jobs, models, balance, say }) {
    [this.#say, this.#jobs, this.#job, this.#other, this.#models] = [say, jobs, job, other, models];
    const folder = h("input", {
      type: "file",
      multiple: true,
      webkitdirectory: true,
      hidden: true,
      onchange: () => this.#score([...folder.files]),
    });
    const files = h("input", {
      type: "file",
      multiple: true,
      accept: "audio/*,.flac,.wav",
      hidden: true,
      onchange: () => this.#score([...files.files]),
    });
    this.element = h(
      "details",
      { class: "research", open: other !== null || job.scoring !== "none" },
      h("summary", {}, "For researchers"),
      h("h4", {}, "Compare two models"),
      h(
        "p",
        { class: "hint" },
        "The same song, separated by another model. Switch between the two while it plays (C), or listen to their difference.",
      ),
      h("div", { class: "buttons" }, this.#compared, ...(other ? this.#difference(balance) : [])),
      h("h4", {}, "Score against references"),
      h(
        "p",
        { class: "hint" },
        "The references of this song: two files with “vocals” and “accompaniment” in their names. BSS Eval 3.0 gives SDR, SIR and SAR of each stem.",
      ),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", onclick: () => folder.click() }, "Choose a folder"),
        h("button", { type: "button", onclick: () => files.click() }, "Choose two files"),
        folder,
        files,
      ),
      this.#state,
    );
    this.update(job);
  }

  update(job) {
    this.#job = job;
    this.#state.textContent = job.scoring === "failed" ? job.scoring_error : "";
    this.#showChoices();
  }

  #showChoices() {
    const same = [...this.#jobs.values()].filter(
      ({ id, sha256, state }) => id !== this.#job.id && sha256 === this.#job.sha256 && state === "done",
    );
    const key = same.map(({ id }) => id).join() + this.#models.length;
    if (this.#compared.dataset.key === key) return;
    this.#compared.dataset.key = key;
    this.#compared.replaceChildren(
      h("option", { value: "" }, "No comparison"),
      h(
        "optgroup",
        { label: "Separated already" },
        ...same.map(({ id, model }) => h("option", { value: id }, model)),
      ),
      h(
        "optgroup",
        { label: "Separate now with" },
        ...options(this.#models)
          .flatMap((group) => [...group.children])
          .map((option) => h("option", { value: `model:${option.value}` }, option.textContent)),
      ),
    );
    this.#compared.value = this.#other?.id ?? "";
  }

  #difference(balance) {
    const save = (stem) =>
      h(
        "button",
        {
          type: "button",
          onclick: () => this.#try(() => download(differenceUrl(this.#job.id, this.#other.id, stem, "wav"))),
        },
        `Download the difference of the ${stem}`,
      );
    return STEMS.map(save);
  }

  async #compare() {
    const value = this.#compared.value;
    if (!value.startsWith("model:")) {
      location.hash = value ? `${this.#job.id}+${value}` : this.#job.id;
      return;
    }
    await this.#try(async () => {
      const job = await separateAgain(this.#job.id, value.slice(6));
      location.hash = `${this.#job.id}+${job.id}`;
    });
  }

  async #score(files) {
    await this.#try(async () => {
      const references = findReferences(files);
      this.#state.textContent = "Sending the references…";
      for (const stem of STEMS) await putReference(this.#job.id, stem, references[stem]);
    });
    this.#state.textContent = "";
  }

  async #try(action) {
    try {
      await action();
    } catch (error) {
      this.#say(error.message);
    }
  }
}
