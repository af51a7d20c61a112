// @ts-check
/** A request in the list of results: how far it is, its clips, or what went wrong. */
import { S, fill } from "../strings.js";
import { announce, el, icon, iconButton, say } from "../base/dom.js";
import { number, shorten } from "../base/format.js";
import { Row, clipPart } from "../clips/row.js";
import * as database from "../library/database.js";
import { player } from "../clips/player.js";
import { TASKS, taskTexts } from "../create/tasks.js";
import { LiveAudio } from "./live_audio.js";

/** @typedef {import("./job.js").Job} Job */

const NAME_LENGTH = 80;

/** Whether a clip is heard while it is made: one at a time. */
let isHeard = false;

/** One request on the page. */
export class Card {
  /** @type {Row[]} */
  rows = [];
  #shown = "";

  /**
   * @param {Job} job
   * @param {{retry: (job: Job) => void, anotherSeed: (job: Job) => void}} actions
   */
  constructor(job, actions) {
    this.job = job;
    this.actions = actions;
    const { inputs, files } = job.request;
    const names = Object.values(files).map((file) => file.name);
    this.name = String(inputs.prompt ?? inputs.text_chords ?? names[0] ?? taskTexts(inputs.task ?? "").name);
    const task = inputs.task ? el("span", { class: "tag" }, taskTexts(inputs.task).name) : null;
    const source = names.length && inputs.prompt ? el("span", { class: "muted source", title: names.join(", ") }, names.map((name) => shorten(name, 40)).join(", ")) : null;
    const dismiss = iconButton("close", S.jobs.dismiss, () => this.dismiss());
    this.dismissButton = dismiss;
    this.body = el("div", { class: "card-body" });
    const head = el("header", { class: "card-head" }, task, el("h3", { title: this.name }, shorten(this.name, NAME_LENGTH)), source, dismiss);
    this.element = el("section", { class: "card", data: { job: job.id }, "aria-label": shorten(this.name, NAME_LENGTH) }, head, this.body);
    job.addEventListener("change", () => this.show());
    this.show();
  }

  /** Show the state of the job. */
  show() {
    const { state } = this.job;
    this.dismissButton.hidden = !this.job.hasEnded;
    const kind = this.job.hasEnded ? state : "running";
    if (kind !== this.#shown) {
      this.#shown = kind;
      this.#build(kind);
    }
    if (kind === "running") this.#showProgress();
  }

  /** @param {string} kind */
  #build(kind) {
    if (kind === "running") this.#buildProgress();
    else if (kind === "succeeded") this.#buildClips();
    else this.#buildFailure(kind);
  }

  #buildProgress() {
    this.status = el("p", { class: "status", role: "status" });
    this.bar = el("progress", { max: 1, "aria-label": fill(S.jobs.progress, { what: shorten(this.name, 40) }) });
    const cancel = el("button", { class: "button", on: { click: () => this.job.cancel() } }, S.jobs.cancel);
    this.live = el("div", { class: "live", hidden: true });
    this.body.replaceChildren(el("div", { class: "progress-line" }, this.status, cancel), this.bar, this.live);
  }

  /** Let it be heard while it is made; at once, when nothing else is playing. @param {boolean} atOnce */
  listen(atOnce) {
    if (atOnce && !player.playing && !isHeard) this.#play();
    else if (TASKS[this.job.request.inputs.task]?.streams) this.#showLive(S.jobs.listen, "", () => this.#play());
  }

  /** @param {string} label of the button @param {string} text beside it @param {() => void} press */
  #showLive(label, text, press) {
    const button = el("button", { class: "button", on: { click: press } }, icon(label === S.jobs.listen ? "play" : "stop"), label);
    this.live.replaceChildren(button, el("span", { class: "muted" }, text));
    this.live.hidden = false;
  }

  async #play() {
    this.live.hidden = true;
    this.audio?.stop();
    const audio = new LiveAudio(this.job.id, Number(this.job.request.inputs.duration ?? this.job.fields.get("duration")?.default ?? 0));
    this.audio = audio;
    isHeard = true;
    const stop = () => audio.stop();
    audio.addEventListener("begin", () => {
      this.#showLive(S.jobs.stopListening, S.jobs.playing, stop);
      player.addEventListener("change", stop);
    });
    audio.addEventListener("end", () => {
      isHeard = false;
      player.removeEventListener("change", stop);
      if (this.audio === audio) this.listen(false);
    });
    try {
      await audio.play();
    } catch {
      // It cannot be heard before it is complete, or it has ended.
    }
    if (!audio.isPlaying) audio.stop();
  }

  #showProgress() {
    const { job } = this;
    const left = job.secondsLeft;
    const about = left ? ` · ${fill(S.jobs.about, { seconds: left })}` : "";
    const text = `${this.#stateText()}${job.hindrance ? "" : about}`;
    if (this.status.textContent !== text) this.status.textContent = text;
    if (job.progress > 0) this.bar.value = job.progress;
    else this.bar.removeAttribute("value");
  }

  #stateText() {
    const { hindrance, queue, state } = this.job;
    if (hindrance) return hindrance;
    if (queue) return queue.position ? fill(S.jobs.queued, { position: queue.position }) : S.jobs.next;
    return /** @type {Record<string, string>} */ (S.jobs)[state] ?? state;
  }

  #buildClips() {
    const { job } = this;
    const heard = this.audio?.isPlaying ? this.audio.time : null;
    this.audio?.stop();
    const isOne = job.clips.length === 1;
    this.rows = job.clips.map((clip) => new Row(clip, { heading: isOne ? "" : clipPart(clip), onRemove: () => this.#remove(clip) }));
    const seconds = job.metrics?.predict_time;
    const facts = [
      job.clips.length > 1 ? fill(S.jobs.variations, { count: job.clips.length }) : "",
      seconds ? fill(S.jobs.took, { seconds: number(seconds, 1) }) : "",
    ].filter(Boolean);
    const another = el("button", { class: "text-button", on: { click: () => this.actions.anotherSeed(job) } }, S.clips.anotherSeed);
    const notes = (job.metrics?.notes ?? []).map((/** @type {string} */ note) => el("li", {}, note));
    this.body.replaceChildren(
      el("div", { class: "muted card-facts" }, el("span", {}, facts.join(" · ")), another),
      notes.length ? el("ul", { class: "notes", "aria-label": S.jobs.notes }, ...notes) : "",
      el("div", { class: `clips${this.rows.length > 1 ? " many" : ""}` }, ...this.rows.map((row) => row.element)),
    );
    // The finished clip goes on where it was heard.
    if (heard !== null) this.rows[0]?.playFrom(heard);
    say(fill(S.jobs.done, { what: shorten(this.name, 40) }));
    for (const name of job.notKept ?? []) announce(fill(S.library.full, { name }));
  }

  /** @param {string} kind */
  #buildFailure(kind) {
    this.audio?.stop();
    const { job } = this;
    if (kind === "canceled") {
      this.body.replaceChildren(el("p", { class: "muted", role: "status" }, S.jobs.cancelled));
      return;
    }
    const sentence = kind === "lost" ? S.jobs.lost : String(job.error?.message ?? "");
    const retry = el("button", { class: "button retry", on: { click: () => this.#retry() } }, S.jobs.retry);
    const head = el("strong", {}, S.jobs.failed);
    this.body.replaceChildren(el("div", { class: "failure", role: "alert" }, head, el("p", {}, sentence)), retry);
  }

  #retry() {
    this.dismiss();
    this.actions.retry(this.job);
  }

  /** @param {database.Clip} clip */
  async #remove(clip) {
    this.rows.find((row) => row.clip === clip)?.destroy();
    this.rows = this.rows.filter((row) => row.clip !== clip);
    await database.removeClip(clip).catch(() => {});
    if (!this.rows.length) this.dismiss();
  }

  /** Take it from the page; its clips stay in the library. */
  dismiss() {
    for (const row of this.rows) row.destroy();
    this.element.dispatchEvent(new Event("dismiss", { bubbles: true }));
    this.element.remove();
  }
}
