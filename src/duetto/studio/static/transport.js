/** Play, pause, seek and loop: by buttons, a slider and keys. */

import { clock, h } from "./dom.js";

const STEP_SECONDS = 5;

export class Transport {
  #player;
  #onPosition;
  #marked = null; // where a loop is to begin, after the key [
  #play = h("button", { class: "play primary", type: "button", onclick: () => this.toggle() });
  #loop = h(
    "button",
    {
      type: "button",
      class: "toggle",
      title: "Repeat a passage: drag across a picture, or press [ and ] (L)",
      onclick: () => this.toggleLoop(),
    },
    "Loop",
  );
  #slider = h("input", {
    type: "range",
    min: 0,
    step: 0.1,
    class: "seek",
    "aria-label": "Position in the song",
    oninput: () => this.#player.seek(Number(this.#slider.value)),
  });
  #time = h("span", { class: "time" });
  element = h("div", { class: "transport" }, this.#play, this.#slider, this.#time, this.#loop);

  constructor(player, onPosition) {
    this.#player = player;
    this.#onPosition = onPosition;
    this.#slider.max = player.duration;
    player.addEventListener("change", () => this.#show());
    this.#show();
  }

  toggle() {
    if (this.#player.isPlaying) this.#player.pause();
    else this.#player.play();
  }

  toggleLoop() {
    const { position, duration, loop } = this.#player;
    const start = Math.min(position, Math.max(0, duration - 1));
    this.#player.setLoop(loop ? null : [start, Math.min(start + 10, duration)]);
  }

  /** Do what a key means; whether it meant something. */
  press(key) {
    const { position, duration } = this.#player;
    const actions = {
      " ": () => this.toggle(),
      k: () => this.toggle(),
      ArrowLeft: () => this.#player.seek(position - STEP_SECONDS),
      ArrowRight: () => this.#player.seek(position + STEP_SECONDS),
      Home: () => this.#player.seek(0),
      End: () => this.#player.seek(duration),
      l: () => this.toggleLoop(),
      "[": () => {
        this.#marked = position;
      },
      "]": () => this.#player.setLoop([this.#marked ?? 0, position].sort((a, b) => a - b)),
    };
    actions[key]?.();
    return key in actions;
  }

  #show() {
    const { isPlaying, loop } = this.#player;
    this.#play.textContent = isPlaying ? "Pause" : "Play";
    this.#play.classList.toggle("playing", isPlaying);
    this.#loop.setAttribute("aria-pressed", loop !== null);
    this.#loop.textContent = loop ? `Loop ${clock(loop[0])}–${clock(loop[1])}` : "Loop";
    this.#showPosition();
    if (isPlaying) requestAnimationFrame(() => this.#follow());
  }

  #follow() {
    if (!this.#player.isPlaying) return;
    this.#showPosition();
    requestAnimationFrame(() => this.#follow());
  }

  #showPosition() {
    const { position, duration } = this.#player;
    const text = `${clock(position)} / ${clock(duration)}`;
    if (this.#time.textContent !== text) {
      this.#time.textContent = text;
      this.#slider.setAttribute("aria-valuetext", `${clock(position)} of ${clock(duration)}`);
    }
    this.#slider.value = position;
    this.#slider.style.setProperty("--filled", position / duration);
    this.#onPosition(position);
  }
}
