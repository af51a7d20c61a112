// @ts-check
/** One training on the service: how far it is, what it sounds like, and its end. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el } from "../base/dom.js";
import { clock } from "../base/format.js";

const INTERVAL = 1000;
/** Answers of a service that may come back. */
const MAY_RETURN = [0, 502, 503, 504];

/** A training and its place in the page. */
export class Training {
  /** @type {Set<string>} */
  #heard = new Set();

  /** @param {any} training as the service gives it */
  constructor(training) {
    this.training = training;
    this.status = el("p", { class: "status", role: "status" }, S.jobs.starting);
    this.bar = el("progress", { max: 1, "aria-label": S.teach.heading });
    const cancel = el("button", { class: "button", on: { click: () => api.cancelTraining(training.id) } }, S.jobs.cancel);
    this.samples = el("div", { class: "samples" });
    this.element = el("section", { class: "card", data: { training: training.id } }, el("div", { class: "progress-line" }, this.status, cancel), this.bar, this.samples);
  }

  /** Follow it to its end. @returns {Promise<any>} the training as it ended */
  async run() {
    while (["starting", "processing"].includes(this.training.status)) {
      this.#show();
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
      try {
        this.training = await api.training(this.training.id);
      } catch (error) {
        if (!MAY_RETURN.includes(/** @type {any} */ (error).status)) throw error;
        this.status.textContent = S.jobs.offline;
      }
    }
    await this.#showSamples();
    this.#showEnd();
    return this.training;
  }

  #show() {
    const { progress, queue } = this.training;
    let text = queue ? (queue.position ? fill(S.jobs.queued, queue) : S.jobs.next) : S.jobs.starting;
    if (progress) {
      const left = progress.seconds_left === null ? "" : fill(S.teach.left, { time: clock(progress.seconds_left) });
      text = [fill(S.teach.progress, progress), progress.more, left].filter(Boolean).join(" · ");
      this.bar.value = progress.done / progress.total;
    }
    if (this.status.textContent !== text) this.status.textContent = text;
    this.#showSamples();
  }

  async #showSamples() {
    for (const url of this.training.samples) {
      if (this.#heard.has(url)) continue;
      this.#heard.add(url);
      const blob = await api.download(url).catch(() => null);
      if (!blob) continue;
      const [, step, number] = /step0*(\d+)-(\d+)/.exec(url) ?? [];
      const name = fill(S.teach.sample, { step, number });
      const sound = el("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": name });
      this.samples.append(el("div", { class: "audio-head" }, el("span", { class: "muted" }, name), sound));
    }
  }

  #showEnd() {
    const { status, error, output } = this.training;
    /** @type {any} */
    let end = el("p", { role: "status" }, S.jobs.cancelled);
    if (status === "failed") end = el("div", { class: "failure", role: "alert" }, error);
    const adapter = output?.adapter;
    if (adapter) {
      const use = () => document.dispatchEvent(new CustomEvent("use-adapter", { detail: adapter }));
      end = el("div", { class: "progress-line" }, el("p", { role: "status" }, fill(S.teach.done, adapter)), el("button", { class: "button primary", on: { click: use } }, S.teach.use));
    }
    this.element.replaceChildren(end, this.samples);
  }
}
