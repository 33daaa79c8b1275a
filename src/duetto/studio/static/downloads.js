/** Downloads of the stems and of the balance that is heard. */

import { download, mixUrl, stemUrl } from "./api.js";
import { h, inDecibels, remembered } from "./dom.js";

const format = remembered("format", "mp3");
const TITLES = { wav: "WAV", flac: "FLAC", mp3: "MP3" };

/** `job` gives the job whose stems are meant at the moment. */
export function downloads(job, balance, say) {
  const status = h("span", { class: "hint", role: "status" });
  const chosen = () => (job().formats.includes(format.get()) ? format.get() : "wav");
  const choices = Object.entries(TITLES).map(([value, title]) => {
    const isHeld = job().formats.includes(value);
    const input = h("input", {
      type: "radio",
      name: "format",
      value,
      checked: value === chosen(),
      disabled: !isHeld,
      onchange: () => format.set(value),
    });
    return h(
      "label",
      { title: isHeld ? "" : `${title} cannot hold this sample rate or number of channels` },
      input,
      h("span", {}, title),
    );
  });

  async function save(url, button) {
    button.disabled = true;
    status.textContent = "Preparing the file…";
    try {
      const nClipped = await download(url);
      status.textContent = nClipped ? `${nClipped} samples are beyond full scale and were clipped.` : "";
    } catch (error) {
      status.textContent = "";
      say(error.message);
    }
    button.disabled = false;
  }
  const button = (title, url) => {
    const element = h("button", { type: "button", onclick: () => save(url(), element) }, title);
    return element;
  };
  const mix = button("", () => mixUrl(job().id, balance.levels, chosen()));
  const show = () => {
    const { vocals, accompaniment } = balance.levels;
    mix.textContent = `This balance (vocals ${inDecibels(vocals)}, accompaniment ${inDecibels(accompaniment)})`;
    mix.disabled = vocals === null && accompaniment === null;
  };
  balance.addEventListener("change", show);
  show();
  return h(
    "section",
    { class: "downloads", "aria-labelledby": "downloads-title" },
    h("h3", { id: "downloads-title" }, "Download"),
    h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Format"), ...choices),
    h(
      "div",
      { class: "buttons" },
      button("Accompaniment (karaoke)", () => stemUrl(job().id, "accompaniment", chosen())),
      button("Vocals", () => stemUrl(job().id, "vocals", chosen())),
      mix,
    ),
    status,
  );
}
