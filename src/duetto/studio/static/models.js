/** The choice of a model, with its card. */

import { h, remembered } from "./dom.js";

const chosen = remembered("model", "");

const size = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const term = (name, ...content) => [h("dt", {}, name), h("dd", {}, ...content)];

function card(model) {
  const scores = Object.entries(model.scores).map(([stem, values]) =>
    h("li", {}, `${stem}: GNSDR ${values.gnsdr} dB, GSIR ${values.gsir} dB, GSAR ${values.gsar} dB`),
  );
  return h(
    "dl",
    { class: "card" },
    ...term("What it is", model.summary),
    ...term("Licence", model.licence),
    ...term(model.n_bytes ? "Trained on" : "Published in", model.origin),
    ...(model.n_bytes
      ? term("Size", `${model.n_parameters.toLocaleString("en")} weights, ${size(model.n_bytes)}`)
      : []),
    ...(scores.length ? term("Scores", h("ul", {}, ...scores), model.protocol) : []),
  );
}

export class ModelChoice {
  #models = [];
  #select = h("select", { id: "model-choice", onchange: () => this.#choose() });
  #summary = h("p", { class: "hint" });
  #details = h("details", {}, h("summary", {}, "About this model"));
  element = h(
    "div",
    { class: "model" },
    h("label", { for: "model-choice" }, "Model"),
    this.#select,
    this.#summary,
    this.#details,
  );

  set models(models) {
    this.#models = models;
    this.#select.replaceChildren(...options(models));
    if (models.some(({ key }) => key === chosen.get())) this.#select.value = chosen.get();
    this.#show();
  }

  get models() {
    return this.#models;
  }

  /** Key of the chosen model; null, the default, before the models are known. */
  get value() {
    return this.#select.value || null;
  }

  #choose() {
    chosen.set(this.#select.value);
    this.#show();
  }

  #show() {
    const model = this.#models.find(({ key }) => key === this.#select.value);
    if (!model) return;
    this.#summary.textContent = `Licence of the weights: ${model.licence}`;
    this.#details.replaceChildren(this.#details.firstElementChild, card(model));
  }
}

/** The models as options, networks and methods apart. */
export function options(models) {
  const group = (label, isNetwork) => {
    const members = models.filter(({ n_bytes: bytes }) => bytes > 0 === isNetwork);
    return members.length
      ? [h("optgroup", { label }, ...members.map(({ key, name }) => h("option", { value: key }, name)))]
      : [];
  };
  return [...group("Networks", true), ...group("Methods without training", false)];
}
