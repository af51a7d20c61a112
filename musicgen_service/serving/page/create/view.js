// @ts-check
/** The first screen: a task, its form, and the results. */
import { S } from "../strings.js";
import { el } from "../base/dom.js";
import { player } from "../clips/player.js";
import { Form } from "./form.js";
import { tasksOf, taskTexts } from "./tasks.js";

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
    const reset = el("button", { class: "text-button", on: { click: () => this.form.clear() } }, S.create.reset);
    const keys = el("span", { class: "muted keys" }, S.create.shortcut);
    this.playAtOnce = el("input", { type: "checkbox", id: "play-at-once", on: { change: () => localStorage.setItem(PLAY, String(this.playAtOnce.checked)) } });
    this.playAtOnce.checked = localStorage.getItem(PLAY) !== "false";
    const listening = el("div", { class: "field field-check" }, this.playAtOnce, el("label", { for: "play-at-once" }, S.jobs.playAtOnce));
    const parts = [this.heading, this.help, this.form.element, el("div", { class: "form-buttons" }, submit, keys, reset), listening, el("p", { class: "field-help" }, S.create.restoreHelp), this.licence];
    const form = el("form", { class: "panel", novalidate: true }, ...parts);
    this.panel = el("div", { id: "task-panel" }, form);
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#generate();
    });
    form.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#generate();
    });
    this.empty = el("div", { class: "empty" }, el("p", { class: "empty-title" }, S.jobs.empty), el("p", {}, S.jobs.emptyHelp));
    this.list = el("div", { class: "cards" });
    this.#makeTabs();
    element.replaceChildren(
      el("div", { class: "create" }, el("div", { class: "create-form" }, this.tabs, this.panel), el("section", { class: "results", "aria-labelledby": "results-heading" }, el("h2", { id: "results-heading" }, S.jobs.heading), this.empty, this.list)),
    );
    this.select(this.tasks[0]);
    /** The requests; their modules come after the form can be seen. */
    this.jobs = this.#loadJobs();
  }

  #exampleChips() {
    return S.examples.map(({ text, short }) => {
      const press = () => {
        this.form.controls.get("prompt")?.set(text);
        this.form.controls.get("prompt")?.focus();
      };
      return el("button", { class: "chip", title: text, on: { click: press } }, short);
    });
  }

  #makeTabs() {
    this.tabs.hidden = this.tasks.length < 2;
    for (const task of this.tasks) {
      const press = () => this.select(task);
      const properties = { role: "tab", class: "tab", id: `tab-${task}`, "aria-controls": "task-panel", data: { task }, on: { click: press } };
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
    const { values, files } = this.form;
    this.jobs.then((jobs) => jobs.start(values, files));
  }

  async #loadJobs() {
    const { JobList } = await import("../jobs/list.js");
    const jobs = new JobList(this.list, this.fields, {
      playsAtOnce: () => this.playAtOnce.checked,
      changed: () => this.#showEmpty(),
      refused: (inputs, error) => this.#showRefusal(inputs, error),
    });
    jobs.resume();
    return jobs;
  }

  /** Say at the inputs why a request was refused, as long as they are those of its task. @param {Record<string, any>} inputs @param {any} error */
  #showRefusal(inputs, error) {
    const isInSight = !document.getElementById("create")?.hidden;
    if (isInSight && inputs.task === this.form.values.task) this.form.showErrors(error.detail ?? [], error.message);
  }

  #showEmpty() {
    this.empty.hidden = this.list.childElementCount > 0;
  }
}
