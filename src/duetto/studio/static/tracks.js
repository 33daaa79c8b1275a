/** The pictures of a song's tracks over one time axis, where a click seeks and a drag chooses a passage. */

import {
  drawSpectrogram,
  drawWaveform,
  frequencyMarks,
  loudest,
  peakOf,
  timeMarks,
  unpack,
} from "./drawing.js";
import { h } from "./dom.js";

const DRAG_PIXELS = 6;

export class Tracks {
  #player;
  #lanes = []; // {key, lane, waveform, spectrogram, picture}
  #ruler = h("div", { class: "ruler", "aria-hidden": "true" });
  element = h("div", { class: "tracks" });

  constructor(player) {
    this.#player = player;
    this.element.append(
      h("div", { class: "lane axis" }, h("div", {}), h("div", { class: "plot" }, h("div", {}), this.#ruler)),
    );
    new ResizeObserver(() => this.draw()).observe(this.#ruler);
    player.addEventListener("change", () => this.#showLoop());
  }

  /** Add a lane. `colour` is the name of its colours in the style sheet; `picture` is a promise. */
  add(colour, title, head, picture) {
    const [waveform, spectrogram] = [
      h("canvas", { class: "waveform" }),
      h("canvas", { class: "spectrogram" }),
    ];
    const area = h(
      "div",
      { class: "area", role: "img", "aria-label": `Waveform and spectrogram: ${title}` },
      waveform,
      spectrogram,
      h("div", { class: "loop" }),
      h("div", { class: "playhead" }),
    );
    const gutter = h("div", { class: "gutter", "aria-hidden": "true" });
    const lane = h(
      "div",
      { class: `lane ${colour} loading` },
      head,
      h("div", { class: "plot" }, gutter, area),
    );
    this.#listen(area);
    this.element.insertBefore(lane, this.element.lastElementChild);
    const entry = { lane, area, gutter, colour, waveform, spectrogram, picture: null };
    this.#lanes.push(entry);
    picture.then(
      (found) => {
        entry.picture = unpack(found);
        lane.classList.remove("loading");
        this.draw();
      },
      (error) => {
        lane.classList.remove("loading");
        area.replaceChildren(h("p", { class: "problem" }, error.message));
      },
    );
    return lane;
  }

  /** Draw everything anew, in the colours and at the size of the moment. */
  draw() {
    const drawn = this.#lanes.filter(({ picture, area }) => picture && area.isConnected);
    if (!drawn.length) return;
    // one scale for all, so that tracks can be compared
    const top = Math.max(...drawn.map(({ picture }) => loudest(picture)));
    const peak = Math.max(...drawn.map(({ picture }) => peakOf(picture)));
    for (const { lane, gutter, waveform, spectrogram, picture } of drawn) {
      const style = getComputedStyle(lane);
      drawWaveform(waveform, picture, style.getPropertyValue("--colour").trim(), peak);
      const stops = [0, 1, 2, 3].map((index) => style.getPropertyValue(`--shade-${index}`).trim());
      drawSpectrogram(spectrogram, picture, stops, top);
      gutter.replaceChildren(
        ...frequencyMarks(picture).map(({ text, place }) => {
          const mark = h("span", {}, text);
          mark.style.setProperty("--place", place);
          return mark;
        }),
      );
    }
    this.#ruler.replaceChildren(
      ...timeMarks(this.#player.duration, this.#ruler.clientWidth).map(({ text, place }) => {
        const mark = h("span", {}, text);
        mark.style.left = `${100 * place}%`;
        return mark;
      }),
    );
  }

  showPosition(seconds) {
    this.element.style.setProperty("--position", seconds / this.#player.duration);
  }

  #showLoop(passage = this.#player.loop) {
    const { duration } = this.#player;
    this.element.classList.toggle("looping", passage !== null);
    if (!passage) return;
    this.element.style.setProperty("--loop-start", passage[0] / duration);
    this.element.style.setProperty("--loop-length", (passage[1] - passage[0]) / duration);
  }

  #listen(area) {
    const secondsAt = (event) => {
      const { left, width } = area.getBoundingClientRect();
      return Math.min(Math.max((event.clientX - left) / width, 0), 1) * this.#player.duration;
    };
    let start = null;
    const passage = (event) => [start.seconds, secondsAt(event)].sort((a, b) => a - b);
    const isDrag = (event) => start && Math.abs(event.clientX - start.x) > DRAG_PIXELS;
    area.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = { x: event.clientX, seconds: secondsAt(event) };
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("pointermove", (event) => {
      if (isDrag(event)) this.#showLoop(passage(event));
    });
    area.addEventListener("pointercancel", () => {
      start = null;
      this.#showLoop();
    });
    area.addEventListener("pointerup", (event) => {
      if (!start) return;
      if (isDrag(event)) this.#player.setLoop(passage(event));
      else this.#player.seek(secondsAt(event));
      start = null;
    });
  }
}
