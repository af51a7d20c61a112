// @ts-check
/** Which checkpoints the service has, and what one that is missing needs. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el } from "../base/dom.js";
import { bytes, number } from "../base/format.js";

/** @param {string} licence @returns whether it forbids commercial use */
export const isNonCommercial = (licence) => /\bNC\b/.test(licence);

/** The view of the models. */
export class ModelsView {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.list = el("div", { class: "models" });
    element.replaceChildren(el("div", { class: "view" }, el("h1", {}, S.models.heading), el("p", { class: "lead" }, S.models.help), this.list));
  }

  /** Ask the service, and show what it has. */
  async show() {
    try {
      const { models } = await api.models();
      const isCheckpoint = (/** @type {any} */ { kind }) => kind === "text" || kind === "melody";
      const parts = models.filter((/** @type {any} */ entry) => !isCheckpoint(entry));
      const order = (/** @type {any} */ { loaded, present }) => (loaded ? 0 : present ? 1 : 2);
      const checkpoints = models.filter(isCheckpoint).sort((/** @type {any} */ a, /** @type {any} */ b) => order(a) - order(b));
      this.list.replaceChildren(...checkpoints.map(card), el("h2", {}, S.models.parts), ...parts.map(card));
    } catch (error) {
      this.list.replaceChildren(el("p", { class: "empty" }, /** @type {Error} */ (error).message || S.models.none));
    }
  }
}

/** @param {any} model an entry of `GET /models` */
function card(model) {
  const state = model.loaded ? "loaded" : model.present ? "present" : "missing";
  const facts = [
    model.parameters && fill(S.models.parameters, { count: model.parameters / 1e6 }),
    model.channels && (model.channels === 2 ? S.models.stereo : S.models.mono),
    model.kind === "melody" && S.models.melody,
    model.bytes && bytes(model.bytes),
  ];
  const licence = el("p", { class: "licence" }, fill(S.models.licence, { licence: model.licence }));
  if (isNonCommercial(model.licence)) licence.append(" ", el("strong", {}, `(${S.models.nonCommercial})`));
  const size = model.download_bytes ? bytes(Number(number(model.download_bytes / 1e8, 0)) * 1e8) : null;
  const fetchLines = !model.present && model.fetch ? [el("p", { class: "field-help" }, size ? fill(S.models.fetch, { size }) : ""), el("pre", { class: "code", tabindex: 0 }, model.fetch)] : [];
  return el(
    "section",
    { class: "model", data: { model: model.name, state } },
    el("div", { class: "model-head" }, el("h3", {}, model.name), el("span", { class: `tag ${state}` }, S.models[state])),
    el("p", { class: "muted" }, facts.filter(Boolean).join(" · ")),
    licence,
    ...fetchLines,
  );
}
