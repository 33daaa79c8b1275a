/** The player of an open song: of one job, or of two of the same song. */

import { getDifferencePicture, getPicture, stemUrl } from "./api.js";
import { Balance, OFF_DB, STEMS } from "./balance.js";
import { clock, h, inDecibels } from "./dom.js";
import { downloads } from "./downloads.js";
import { Player } from "./player.js";
import { Research, scoreLine } from "./research.js";
import { Tracks } from "./tracks.js";
import { Transport } from "./transport.js";
import { WavFile } from "./wav.js";

const TITLES = { mixture: "Mixture", vocals: "Vocals", accompaniment: "Accompaniment" };

export class Desk {
  #jobs; // the one that is open, and the other of a comparison
  #balance = new Balance();
  #transport;
  #research;
  #scores = new Map(); // "job id/stem" -> element
  #controls = [];
  player;
  tracks;
  element = h("div", { class: "sheet desk" });

  constructor(job, other, { jobs, models, say }) {
    this.#jobs = other ? [job, other] : [job];
    const files = this.#jobs.flatMap(({ id }) => STEMS.map((stem) => new WavFile(stemUrl(id, stem, "wav"))));
    this.player = new Player(files, { sampleRate: job.sample_rate, nFrames: job.n_samples });
    this.player.addEventListener("problem", (event) => say(event.detail));
    this.tracks = new Tracks(this.player);
    this.#transport = new Transport(this.player, (seconds) => this.tracks.showPosition(seconds));
    this.#research = new Research({ job, other, jobs, models, balance: this.#balance, say });
    this.#addLanes();
    this.element.append(
      this.#head(job),
      this.#transport.element,
      this.tracks.element,
      downloads(() => this.#jobs[this.#balance.model], this.#balance, say),
      this.#research.element,
      help(),
    );
    this.#balance.addEventListener("change", () => this.#show());
    this.#show();
    this.player.preload();
  }

  update(job) {
    this.#jobs = this.#jobs.map((known) => (known.id === job.id ? job : known));
    for (const stem of STEMS) {
      const line = this.#scores.get(`${job.id}/${stem}`);
      if (line) line.textContent = scoreLine(job, stem);
    }
    this.#research.update(this.#jobs[0]);
  }

  /** Do what a key means; whether it meant something. */
  press(key) {
    const [vocals, accompaniment] = STEMS.map((stem) => this.#balance.stems[stem]);
    const actions = {
      v: () => this.#balance.changeStem("vocals", { muted: !vocals.muted }),
      a: () => this.#balance.changeStem("accompaniment", { muted: !accompaniment.muted }),
      V: () => this.#balance.changeStem("vocals", { solo: !vocals.solo }),
      A: () => this.#balance.changeStem("accompaniment", { solo: !accompaniment.solo }),
      m: () => this.#toggle("mixture"),
      c: () => this.#jobs[1] && this.#balance.change({ model: 1 - this.#balance.model, listening: "stems" }),
      d: () => this.#jobs[1] && this.#toggle("difference"),
    };
    actions[key]?.();
    return key in actions || this.#transport.press(key);
  }

  close() {
    this.player.close();
  }

  #toggle(what) {
    this.#balance.change({ listening: this.#balance.listening === what ? "stems" : what });
  }

  #head(job) {
    const facts = [
      clock(job.duration_seconds),
      `${job.sample_rate} Hz`,
      job.n_channels === 1 ? "mono" : job.n_channels === 2 ? "stereo" : `${job.n_channels} channels`,
      this.#jobs.map(({ model }) => model).join(" and "),
    ];
    const clipped = job.n_clipped
      ? `${job.n_clipped} samples of the stems were beyond full scale and were clipped.`
      : "";
    const head = h(
      "div",
      { class: "head" },
      h("h2", {}, job.name),
      h("p", { class: "hint" }, facts.join(" · ")),
      h("p", { class: "problem", hidden: !clipped }, clipped),
    );
    if (this.#jobs[1]) {
      head.append(
        this.#segments(
          "Model",
          this.#jobs.map(({ model }, index) => [
            `${"AB"[index]}: ${model}`,
            () => this.#balance.change({ model: index, listening: "stems" }),
            () => this.#balance.listening === "stems" && this.#balance.model === index,
          ]),
        ),
      );
    }
    return head;
  }

  /** Buttons of which one is pressed. */
  #segments(label, choices) {
    const buttons = choices.map(([title, onclick, isPressed]) => {
      const button = h("button", { type: "button", class: "toggle", onclick }, title);
      this.#controls.push(() => button.setAttribute("aria-pressed", isPressed()));
      return button;
    });
    return h("div", { class: "segments", role: "group", "aria-label": label }, ...buttons);
  }

  #addLanes() {
    const [job, other] = this.#jobs;
    const mixture = this.#segments("Listen to", [
      ["Listen to the mixture", () => this.#toggle("mixture"), () => this.#balance.listening === "mixture"],
    ]);
    this.tracks.add(
      "mixture",
      TITLES.mixture,
      h("div", { class: "lane-head" }, h("h3", {}, TITLES.mixture), mixture),
      getPicture(job.id, "mixture"),
    );
    for (const stem of STEMS) {
      this.#jobs.forEach((each, model) => {
        const title = other ? `${TITLES[stem]}, ${"AB"[model]}: ${each.model}` : TITLES[stem];
        const head = h(
          "div",
          { class: "lane-head" },
          h("h3", {}, title),
          ...(model === 0 ? this.#stemControls(stem) : []),
          this.#scoreOf(each, stem),
        );
        const lane = this.tracks.add(stem, title, head, getPicture(each.id, stem));
        this.#controls.push(() => lane.classList.toggle("silent", this.#balance.gain(model, stem) === 0));
      });
      if (other) this.#addDifference(job, other, stem);
    }
  }

  #addDifference(job, other, stem) {
    const isHeard = () => this.#balance.listening === "difference" && this.#balance.difference === stem;
    const listen = this.#segments("Listen to", [
      [
        "Listen to the difference",
        () => this.#balance.change({ difference: stem, listening: isHeard() ? "stems" : "difference" }),
        isHeard,
      ],
    ]);
    const title = `${TITLES[stem]}: A − B`;
    const lane = this.tracks.add(
      "mixture",
      title,
      h("div", { class: "lane-head" }, h("h3", {}, title), listen),
      getDifferencePicture(job.id, other.id, stem),
    );
    this.#controls.push(() => lane.classList.toggle("silent", !isHeard()));
  }

  #scoreOf(job, stem) {
    const line = h("p", { class: "scores" }, scoreLine(job, stem));
    this.#scores.set(`${job.id}/${stem}`, line);
    return line;
  }

  #stemControls(stem) {
    const { stems } = this.#balance;
    const toggle = (title, key, shortcut) => {
      const button = h(
        "button",
        {
          type: "button",
          class: "toggle",
          title: `${title} (${shortcut})`,
          "aria-label": `${title}: ${stem}`,
          onclick: () => this.#balance.changeStem(stem, { [key]: !stems[stem][key] }),
        },
        title,
      );
      this.#controls.push(() => button.setAttribute("aria-pressed", stems[stem][key]));
      return button;
    };
    const slider = h("input", {
      type: "range",
      min: OFF_DB,
      max: 6,
      step: 1,
      "aria-label": `Volume: ${stem}`,
      title: "Double-click for 0 dB",
      oninput: () => this.#balance.changeStem(stem, { decibels: Number(slider.value) }),
      ondblclick: () => this.#balance.changeStem(stem, { decibels: 0 }),
    });
    const level = h("output", {});
    this.#controls.push(() => {
      const { decibels } = stems[stem];
      slider.value = decibels;
      slider.style.setProperty("--filled", (decibels - OFF_DB) / (6 - OFF_DB));
      level.textContent = inDecibels(decibels <= OFF_DB ? null : decibels);
      slider.setAttribute("aria-valuetext", level.textContent);
    });
    const letter = stem[0];
    return [
      h(
        "div",
        { class: "segments" },
        toggle("Mute", "muted", letter),
        toggle("Solo", "solo", letter.toUpperCase()),
      ),
      h("div", { class: "volume" }, slider, level),
    ];
  }

  #show() {
    this.#jobs.forEach((_, model) =>
      STEMS.forEach((stem, index) => {
        this.player.setGain(STEMS.length * model + index, this.#balance.gain(model, stem));
      }),
    );
    for (const show of this.#controls) show();
  }
}

function help() {
  const keys = [
    ["Space, K", "play or pause"],
    ["← →", "5 seconds back or forward"],
    ["Home, End", "beginning, end"],
    ["[ ]", "begin and end a loop here"],
    ["L", "loop on or off"],
    ["V, A", "mute vocals, accompaniment"],
    ["Shift + V, A", "solo"],
    ["M", "mixture or stems"],
    ["C, D", "other model, difference"],
  ];
  return h(
    "details",
    { class: "keys" },
    h("summary", {}, "Keys"),
    h("dl", {}, ...keys.flatMap(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])),
  );
}
