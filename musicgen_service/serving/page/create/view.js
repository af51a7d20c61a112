// @ts-check
/** The first screen: a task, its form, and the results. */
import { S, fill } from "../strings.js";
import { announce, el } from "../base/dom.js";
import * as database from "../library/database.js";
import { setBusy } from "../clips/listening.js";
import { inputsOf, readRecipe } from "../clips/recipe.js";
import { player } from "../clips/player.js";
import { clipFile } from "../clips/row.js";
import { Card } from "../jobs/card.js";
import { Job, newJob } from "../jobs/job.js";
import { Form } from "./form.js";
import { tasksOf, taskTexts } from "./tasks.js";

/** @typedef {import("../library/database.js").Clip} Clip */

/** Seconds that a clip is continued by. */
const MORE = 8;

/** Where it is kept whether clips are played while they are made. */
const PLAY = "musicgen-play";

/** The page's first view. */
export class CreateView {
  /** @param {HTMLElement} element @param {Map<string, import("../base/schema.js").Field>} fields of the service */
  constructor(element, fields) {
    this.fields = fields;
    this.tasks = tasksOf(fields);
    this.form = new Form(fields, el("div", { class: "chips examples", role: "group", "aria-label": S.create.examples }, ...this.#exampleChips()));
    this.heading = el("h1", {});
    this.help = el("p", { class: "lead" });
    this.licence = el("p", { class: "field-help licence", hidden: true });
    this.tabs = el("div", { class: "tabs", role: "tablist", "aria-label": S.create.tasks });
    const submit = el("button", { type: "submit", class: "button primary generate" }, S.create.generate);
    const reset = el("button", { type: "button", class: "text-button", on: { click: () => this.form.clear() } }, S.create.reset);
    const keys = el("span", { class: "muted keys" }, S.create.shortcut);
    this.playAtOnce = el("input", { type: "checkbox", id: "play-at-once", on: { change: () => localStorage.setItem(PLAY, String(this.playAtOnce.checked)) } });
    this.playAtOnce.checked = localStorage.getItem(PLAY) !== "false";
    const listening = el("div", { class: "field field-check" }, this.playAtOnce, el("label", { for: "play-at-once" }, S.jobs.playAtOnce));
    this.panel = el("form", { class: "panel", id: "task-panel", novalidate: true }, this.heading, this.help, this.form.element, el("div", { class: "form-buttons" }, submit, keys, reset), listening, this.licence);
    this.panel.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#generate();
    });
    this.panel.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#generate();
    });
    this.empty = el("div", { class: "empty" }, el("p", { class: "empty-title" }, S.jobs.empty), el("p", {}, S.jobs.emptyHelp));
    this.list = el("div", { class: "cards" });
    this.list.addEventListener("dismiss", () => setTimeout(() => this.#showEmpty()));
    this.#makeTabs();
    element.replaceChildren(
      el("div", { class: "create" }, el("div", { class: "create-form" }, this.tabs, this.panel), el("section", { class: "results", "aria-labelledby": "results-heading" }, el("h2", { id: "results-heading" }, S.jobs.heading), this.empty, this.list)),
    );
    document.addEventListener("use-clip", (event) => this.#use(/** @type {CustomEvent} */ (event).detail));
    this.select(this.tasks[0]);
    this.#resume();
  }

  #exampleChips() {
    return S.examples.map(({ text, short }) => {
      const press = () => {
        this.form.controls.get("prompt")?.set(text);
        this.form.controls.get("prompt")?.focus();
      };
      return el("button", { type: "button", class: "chip", title: text, on: { click: press } }, short);
    });
  }

  #makeTabs() {
    this.tabs.hidden = this.tasks.length < 2;
    for (const task of this.tasks) {
      const press = () => this.select(task);
      const properties = { type: "button", role: "tab", class: "tab", id: `tab-${task}`, "aria-controls": "task-panel", data: { task }, on: { click: press } };
      this.tabs.append(el("button", properties, taskTexts(task).name));
    }
    this.tabs.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = (this.tasks.indexOf(this.form.task) + step + this.tasks.length) % this.tasks.length;
      this.select(this.tasks[at]);
      /** @type {HTMLElement} */ (this.tabs.children[at]).focus();
    });
  }

  /** @param {string} task */
  select(task) {
    this.form.show(task);
    const { heading, help } = taskTexts(task);
    this.heading.textContent = heading;
    this.help.textContent = help;
    if (this.tasks.length > 1) {
      this.panel.setAttribute("role", "tabpanel");
      this.panel.setAttribute("aria-labelledby", `tab-${task}`);
    }
    for (const tab of /** @type {HTMLElement[]} */ ([...this.tabs.children])) {
      const isChosen = tab.dataset.task === task;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      if (isChosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  /** @param {string} sentence on the licence of the model that is used; an empty one hides it */
  showLicence(sentence) {
    this.licence.textContent = sentence;
    this.licence.hidden = !sentence;
  }

  #generate() {
    if (!this.form.check()) return;
    player.context; // wakes it within the press of the button
    this.start(newJob(this.form.values, this.form.files, this.fields));
  }

  /** @param {Job} job @param {boolean} [isKnown] whether the service has it already */
  async start(job, isKnown = false) {
    const card = new Card(job, { retry: (old) => this.#again(old), anotherSeed: (old) => this.#again(old, true) });
    job.addEventListener("accepted", () => card.listen(this.playAtOnce.checked));
    this.list.prepend(card.element);
    if (!isKnown) card.element.scrollIntoView({ block: "nearest" });
    this.#showEmpty();
    setBusy(true);
    await (isKnown ? job.resume() : job.run());
    setBusy(false);
    const { error } = job;
    if (job.state === "failed" && error && !document.getElementById("create")?.hidden) {
      const isSame = job.request.inputs.task === this.form.values.task;
      if (isSame) this.form.showErrors(/** @type {any} */ (error).detail ?? [], error.message);
    }
  }

  /** @param {Job} job to ask for once more @param {boolean} [isOther] with another seed */
  #again({ request }, isOther = false) {
    const { seed, ...others } = request.inputs;
    this.start(newJob(isOther ? others : request.inputs, request.files, this.fields));
  }

  /** Follow what was asked for before the page was loaded again. */
  async #resume() {
    try {
      for (const request of await database.unfinishedRequests()) this.start(new Job(request, this.fields), true);
    } catch {
      // The browser keeps nothing for this page.
    }
  }

  #showEmpty() {
    this.empty.hidden = this.list.childElementCount > 0;
  }

  /** @param {{what: string, clip: Clip, end?: number}} use */
  async #use({ what, clip, end }) {
    if (what === "analyse") return;
    const files = await database.filesOf(clip);
    if (what === "again" || what === "another-seed") {
      const { seed, ...others } = clip.inputs;
      location.hash = "create";
      this.start(newJob(what === "again" ? clip.inputs : others, files, this.fields));
      return;
    }
    const offered = this.tasks.includes(what) ? what : this.tasks[0];
    this.select(offered);
    location.hash = "create";
    this.form.clear();
    this.form.controls.get("prompt")?.set(what === "continuation" || what === "loop" ? clip.inputs.prompt : "");
    if (what === "continuation") this.form.controls.get("duration")?.set(Math.ceil((end ?? clip.seconds) + MORE));
    if (what === "loop") {
      const tempo = clip.analysis?.tempo_bpm;
      if (tempo) this.form.controls.get("bpm")?.set(Math.round(tempo));
      this.form.controls.get("seed")?.set(clip.inputs.seed);
    } else {
      await this.form.audio?.take(clipFile(clip), end ? { end: Math.round(end * 100) / 100 } : {});
    }
    this.form.element.querySelector("textarea")?.focus();
  }

  /**
   * Fill the form with the recipe of a file that the service made.
   * @param {File} file
   * @returns {Promise<boolean>} whether it has one
   */
  async restore(file) {
    const recipe = await readRecipe(file);
    if (!recipe) return false;
    const inputs = inputsOf(recipe, this.fields);
    if (this.tasks.includes(inputs.task)) this.select(inputs.task);
    this.form.clear();
    this.form.set(inputs);
    location.hash = "create";
    const audio = recipe.input_audio ? await this.#sourceOf(recipe) : null;
    if (audio) await this.form.audio?.take(audio, { start: inputs.continuation_start, end: inputs.continuation_end });
    const sentence = recipe.input_audio && !audio ? S.create.restoredWithoutAudio : S.create.restored;
    announce(fill(sentence, { name: file.name, audio: recipe.input_audio }));
    return true;
  }

  /** @param {Record<string, any>} recipe @returns {Promise<File | null>} the audio it was made from, when the library has it */
  async #sourceOf(recipe) {
    for (const clip of await database.clips().catch(() => [])) {
      if (clip.inputs.seed !== recipe.seed || clip.inputs.task !== recipe.task) continue;
      const [file] = Object.values(await database.filesOf(clip));
      if (file && (await digest(file)) === recipe.input_audio_sha256) return file;
    }
    return null;
  }
}

/** @param {Blob} blob @returns {Promise<string | null>} its SHA-256; null on plain http, where browsers have none */
async function digest(blob) {
  if (!crypto.subtle) return null;
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return [...bytes].map((value) => value.toString(16).padStart(2, "0")).join("");
}
