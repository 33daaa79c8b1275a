/** What is listened to: levels, mute and solo of the stems, the mixture, one of two models, or a difference. */

import { toGain } from "./dom.js";

export const STEMS = ["vocals", "accompaniment"];
export const OFF_DB = -40; // the lowest place of a volume slider

export class Balance extends EventTarget {
  stems = Object.fromEntries(STEMS.map((stem) => [stem, { muted: false, solo: false, decibels: 0 }]));
  listening = "stems"; // or "mixture", or "difference"
  model = 0; // 1: the other model of a comparison
  difference = "vocals"; // whose estimates are subtracted

  change(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }

  changeStem(stem, changes) {
    Object.assign(this.stems[stem], changes);
    this.change({ listening: "stems" });
  }

  /** The level of a stem in dB, null where it cannot be heard. */
  level(stem) {
    const { muted, solo, decibels } = this.stems[stem];
    const anySolo = STEMS.some((name) => this.stems[name].solo);
    return muted || (anySolo && !solo) || decibels <= OFF_DB ? null : decibels;
  }

  get levels() {
    return Object.fromEntries(STEMS.map((stem) => [stem, this.level(stem)]));
  }

  /** The gain of a stem of the first (0) or second (1) model. */
  gain(model, stem) {
    if (this.listening === "difference") return stem === this.difference ? 1 - 2 * model : 0;
    if (this.listening === "mixture") return model === 0 ? 1 : 0; // the stems of either sum to the mixture
    return model === this.model ? toGain(this.level(stem)) : 0;
  }
}
