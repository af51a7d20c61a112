// @ts-check
/** The form of one task: its inputs from the schema, the first ones in sight and the rest under "Advanced". */
import { S } from "../strings.js";
import { el } from "../base/dom.js";
import { Control } from "./control.js";
import { showReadings } from "./readings.js";
import { layout } from "./tasks.js";

/** The inputs of the service; what is filled in stays when the task changes. */
export class Form {
  /** @param {Map<string, import("../base/schema.js").Field>} fields @param {HTMLElement} examples of prompts */
  constructor(fields, examples) {
    this.fields = fields;
    this.examples = examples;
    this.controls = new Map([...fields.values()].map((field) => [field.name, new Control(field)]));
    showReadings(this.controls);
    this.main = el("div", { class: "fields" });
    this.more = el("div", { class: "fields" });
    this.details = el("details", { class: "advanced" }, el("summary", {}, S.create.advanced), this.more);
    this.element = el("div", { class: "form-fields" }, this.main, this.details);
    /** @type {string[]} */
    this.shown = [];
    this.needed = new Set();
    this.task = "";
  }

  /** The control of the first file that is shown, or undefined. */
  get audio() {
    return this.shown.map((name) => this.controls.get(name)?.audio).find(Boolean) ?? undefined;
  }

  /** @param {string} task */
  show(task) {
    const { main, advanced, needed } = layout(task, this.fields);
    this.task = task;
    this.needed = new Set(needed);
    this.shown = [...main, ...advanced];
    const hasPart = ["continuation_start", "continuation_end"].every((name) => this.shown.includes(name));
    this.main.replaceChildren(...main.map((name) => this.#element(name)));
    this.more.replaceChildren(...advanced.map((name) => this.#element(name)));
    // Below the prompt, where neither audio nor inputs for tempo and chords say more.
    const prompt = this.controls.get("prompt");
    if (prompt && main.includes("prompt") && !["input_audio", "bpm"].some((name) => main.includes(name))) prompt.element.after(this.examples);
    this.details.hidden = !advanced.length;
    this.audio?.choosesPart(hasPart ? this.#partControls() : null);
  }

  /** @param {string} name */
  #element(name) {
    return /** @type {Control} */ (this.controls.get(name)).element;
  }

  #partControls() {
    const [start, end] = ["continuation_start", "continuation_end"].map((name) => /** @type {Control} */ (this.controls.get(name)));
    return { start, end };
  }

  /**
   * The inputs as the service takes them, those at their default left out.
   * @returns {Record<string, any>} without the files
   */
  get values() {
    /** @type {Record<string, any>} */
    const values = this.task ? { task: this.task } : {};
    for (const name of this.shown) {
      const value = this.controls.get(name)?.value;
      if (value !== undefined) values[name] = value;
    }
    if (values.sections) delete values.duration; // it follows from them
    return values;
  }

  /** The files that are shown and given, by name of the input. */
  get files() {
    return Object.fromEntries(
      this.shown.flatMap((name) => {
        const file = this.controls.get(name)?.audio?.file;
        return file ? [[name, file]] : [];
      }),
    );
  }

  /** Check every input; the first wrong one gets the focus. @returns {boolean} whether all may be sent */
  check() {
    const wrong = this.shown.filter((name) => !(/** @type {Control} */ (this.controls.get(name)).check(this.#isNeeded(name))));
    this.#reveal(wrong);
    return !wrong.length;
  }

  /** @param {string} name */
  #isNeeded(name) {
    // Sections have words of their own.
    const isSaid = name === "prompt" && this.shown.includes("sections") && Boolean(this.controls.get("sections")?.value);
    return this.needed.has(name) && !isSaid;
  }

  /**
   * Show errors of the service at their inputs.
   * @param {{loc: string[], msg: string}[]} detail as the service gives them
   * @param {string} sentence with every problem
   * @returns {boolean} whether at least one has its place
   */
  showErrors(detail, sentence) {
    const placed = detail.flatMap(({ loc, msg }) => this.#place(String(loc.at(-1)), msg));
    if (!placed.length) {
      // Rules between inputs name them in their sentences, which are numbered where there are several.
      /** @type {Record<string, string>} */
      const said = {};
      for (const part of sentence.split(/\s*\(\d+\) /)) {
        const places = this.shown.map((known) => [known, part.search(new RegExp(`\\b${known}\\b`))]);
        const [name] = places.filter(([, at]) => Number(at) >= 0).sort(([, a], [, b]) => Number(a) - Number(b))[0] ?? [];
        const isSaid = !name || this.#element(String(name)).textContent?.includes(part.trim());
        if (!isSaid) said[name] = [said[name], part.trim()].filter(Boolean).join(" ");
      }
      placed.push(...Object.entries(said).flatMap(([name, message]) => this.#place(name, message)));
    }
    this.#reveal(placed);
    return placed.length > 0;
  }

  /** @param {string} name @param {string} message */
  #place(name, message) {
    if (!this.shown.includes(name)) return [];
    this.controls.get(name)?.showError(message);
    return [name];
  }

  /** @param {string[]} names of inputs with errors */
  #reveal(names) {
    if (!names.length) return;
    if (names.some((name) => this.more.contains(this.#element(name)))) this.details.open = true;
    this.controls.get(names[0])?.focus();
  }

  /** Set every input to its default. */
  clear() {
    for (const control of this.controls.values()) control.clear();
  }

  /** @param {Record<string, any>} inputs of a request or a recipe; inputs that are not there get their default */
  set(inputs) {
    for (const [name, control] of this.controls) {
      if (control.audio) continue;
      if (inputs[name] === undefined || inputs[name] === null) control.clear();
      else control.set(inputs[name]);
    }
  }
}
