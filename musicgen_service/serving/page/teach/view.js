// @ts-check
/** Trains an adapter on songs of one's own, by the steps of the command `train`: look at the songs, then train. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el } from "../base/dom.js";
import { clock } from "../base/format.js";
import { readFields } from "../base/schema.js";
import { Control } from "../create/control.js";
import { Songs } from "./songs.js";
import { Training } from "./training.js";

/** Inputs that the form shows first; the rest is under "Advanced". */
const MAIN = ["trigger", "model_version", "drop_vocals", "one_same_description"];
/** What is asked otherwise, or has no effect. */
const HIDDEN = ["dataset_path", "preview", "lr_scheduler", "warmup"];

/** The view that teaches. */
export class TeachView {
  /** @type {Map<string, Control>} */
  #controls = new Map();

  /** @param {HTMLElement} element */
  constructor(element) {
    this.songs = new Songs(() => this.#changed());
    this.name = new Control({ name: "adapter_name", kind: "text", help: S.teach.nameHelp, default: undefined, choices: [], isNumber: false, required: true });
    this.look = el("button", { type: "submit", class: "button primary", disabled: true }, S.teach.look);
    this.fields = el("div", { class: "fields" });
    this.more = el("div", { class: "fields" });
    const advanced = el("details", { class: "advanced" }, el("summary", {}, S.create.advanced), this.more);
    const form = el("form", { class: "panel", novalidate: true }, this.songs.element, this.fields, advanced, el("div", { class: "form-buttons" }, this.look));
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#preview();
    });
    form.addEventListener("input", () => this.#changed());
    this.state = el("div", { class: "teach-state" });
    element.replaceChildren(el("div", { class: "view" }, el("h1", {}, S.teach.heading), el("p", { class: "lead" }, S.teach.help), form, this.state));
  }

  /** Build the form, and show the training that goes on. */
  async show() {
    if (this.#controls.size) return;
    try {
      const [schema, { models }, { results }] = await Promise.all([api.schema(), api.models(), api.trainings()]);
      const fields = readFields(schema, "TrainingInput");
      const base = fields.get("model_version");
      if (base) base.choices = models.filter((/** @type {any} */ { kind, present }) => present && (kind === "text" || kind === "melody")).map((/** @type {any} */ { name }) => name);
      for (const [name, field] of fields) if (!HIDDEN.includes(name)) this.#controls.set(name, new Control(field));
      if (base && !base.choices.includes(base.default)) this.#controls.get("model_version")?.set(base.choices[0]);
      const elements = (/** @type {string[]} */ names) => names.map((name) => this.#controls.get(name)?.element).filter(Boolean);
      this.fields.replaceChildren(this.name.element, ...elements(MAIN));
      this.more.replaceChildren(...elements([...this.#controls.keys()].filter((name) => !MAIN.includes(name))));
      const running = results.find((/** @type {any} */ { input, status }) => !input.preview && ["starting", "processing"].includes(status));
      if (running) this.#follow(running);
    } catch (error) {
      this.#fail(error);
    }
  }

  #changed() {
    this.look.disabled = !this.songs.count;
    if (!this.training) this.state.replaceChildren();
  }

  get #inputs() {
    const values = Object.fromEntries([...this.#controls].map(([name, control]) => [name, control.value]));
    return { ...values, model_version: this.#controls.get("model_version")?.input.value };
  }

  /** Have a training carried out, of these inputs. @param {object} more @returns {Promise<any>} */
  async #post(more) {
    const dataset_path = await this.songs.send((name) => this.state.replaceChildren(el("p", { role: "status" }, fill(S.teach.sending, { name }))));
    const destination = this.name.value;
    return api.train({ destination, input: { ...this.#inputs, ...more, dataset_path } });
  }

  async #preview() {
    const controls = [this.name, ...this.#controls.values()];
    const wrong = controls.filter((control) => !control.check(control === this.name));
    if (wrong.length) return wrong[0].focus();
    await this.#carryOut({ preview: true }, (training) => this.#showSongs(training.songs));
  }

  /** @param {any} understood */
  #showSongs({ songs, summary }) {
    /** @type {Map<string, any>} */
    const captions = new Map();
    const row = (/** @type {any} */ song) => {
      const { name, seconds, pieces, caption, notes, problem } = song;
      let said = fill(S.teach.leftOut, { problem });
      if (!problem) {
        said = el("input", { value: caption, "aria-label": fill(S.teach.captionOf, { name }), maxlength: 4000 });
        captions.set(name, said);
      }
      return el("tr", {}, el("td", {}, name), el("td", {}, seconds ? clock(seconds) : "–"), el("td", {}, problem ? "–" : pieces), el("td", {}, said, ...notes.map((/** @type {string} */ note) => el("p", { class: "field-help" }, note))));
    };
    const head = el("tr", {}, ...[S.teach.song, S.analyse.length, S.teach.pieces, S.teach.caption].map((text) => el("th", { scope: "col" }, text)));
    const train = async () => {
      const changed = [...captions].filter(([, input]) => input.value !== input.defaultValue);
      this.songs.describe(changed.map(([name, input]) => [name, input.value]));
      await this.#carryOut({}, () => this.songs.forget());
    };
    const isEmpty = songs.every((/** @type {any} */ { problem }) => problem);
    const button = el("button", { class: "button primary", disabled: isEmpty, on: { click: train } }, S.teach.train);
    this.state.replaceChildren(el("h2", {}, S.teach.understood), el("div", { class: "panel" }, el("table", { class: "recipe" }, el("thead", {}, head), el("tbody", {}, ...songs.map(row)))), el("p", { class: "muted" }, summary), button);
  }

  /** @param {object} more inputs @param {(training: any) => void} ended called when it has succeeded */
  async #carryOut(more, ended) {
    this.look.disabled = true;
    try {
      await this.#follow(await this.#post(more), ended);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.look.disabled = !this.songs.count;
    }
  }

  /** Show a training until it ends. @param {any} begun @param {(training: any) => void} [ended] */
  async #follow(begun, ended = () => {}) {
    this.training = new Training(begun);
    this.state.replaceChildren(this.training.element);
    const training = await this.training.run();
    this.training = null;
    if (training.status === "succeeded") ended(training);
  }

  /** @param {any} error */
  #fail(error) {
    this.state.replaceChildren(el("div", { class: "failure", role: "alert" }, error.message));
  }
}
