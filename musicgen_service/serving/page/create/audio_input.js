// @ts-check
/** Audio as an input: a file that is dropped or chosen, a recording, or a clip; with the part of it to use. */
import { S, fill } from "../strings.js";
import { el, icon, iconButton, announce } from "../base/dom.js";
import { number } from "../base/format.js";
import { decode, peaksOf } from "../clips/peaks.js";
import { player } from "../clips/player.js";

/** @typedef {import("./control.js").Control} Control */

/** The control of one audio file. */
export class AudioInput {
  /** @type {File | null} */
  file = null;
  /** @type {AudioBuffer | null} */
  #sound = null;
  /** @type {{start: Control, end: Control} | null} */
  #part = null;
  /** @type {import("./recorder.js").Recorder | null} */
  #recorder = null;
  /** @type {import("../clips/wave.js").Wave | null} */
  #wave = null;
  /** @type {import("../clips/region.js").Region | null} */
  #region = null;
  /** Counts files, so that what comes late for an earlier one is not shown. */
  #number = 0;

  /** @param {string} label */
  constructor(label) {
    this.label = label;
    this.element = el("div", { class: "audio-input" });
    this.picker = el("input", { type: "file", accept: "audio/*,video/*", class: "visually-hidden", tabindex: "-1", "aria-label": label });
    this.picker.addEventListener("change", () => this.picker.files[0] && this.take(this.picker.files[0]));
    this.element.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      this.element.classList.add("dragging");
    });
    this.element.addEventListener("dragleave", () => this.element.classList.remove("dragging"));
    this.element.addEventListener("drop", (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      event.stopPropagation();
      this.element.classList.remove("dragging");
      const file = event.dataTransfer?.files[0];
      if (file) this.take(file);
    });
    this.#showEmpty();
  }

  get firstButton() {
    return this.element.querySelector("button");
  }

  #showEmpty() {
    const choose = el("button", { class: "button", on: { click: () => this.picker.click() } }, icon("file"), S.audio.choose);
    const record = el("button", { class: "button", on: { click: () => this.#record(record) } }, icon("microphone"), S.audio.record);
    const buttons = el("div", { class: "audio-buttons" }, choose, record);
    this.element.replaceChildren(this.picker, el("p", { class: "audio-drop" }, S.audio.drop), buttons);
  }

  /** @param {HTMLButtonElement} button */
  async #record(button) {
    if (this.#recorder) {
      this.#recorder.stop();
      return;
    }
    const { Recorder } = await import("./recorder.js");
    this.#recorder = new Recorder();
    const status = el("span", { role: "status" }, fill(S.audio.recording, { seconds: 0 }));
    button.replaceChildren(icon("stop"), S.audio.stop);
    button.after(status);
    try {
      const file = await this.#recorder.record((seconds) => {
        status.textContent = fill(S.audio.recording, { seconds: Math.round(seconds) });
      });
      await this.take(file);
    } catch (error) {
      announce(/** @type {Error} */ (error).message);
      this.#showEmpty();
    } finally {
      this.#recorder = null;
    }
  }

  /**
   * Use a file.
   * @param {File} file
   * @param {{start?: number, end?: number}} [part] in seconds
   */
  async take(file, part = {}) {
    this.clear();
    const ours = this.#number;
    this.file = file;
    this.#showControls();
    this.element.toggleAttribute("data-invalid", false);
    const place = el("div", { class: "audio-wave" });
    this.partText = el("p", { class: "audio-part" });
    const play = iconButton("play", S.audio.play, () => this.#toggle());
    const remove = iconButton("close", S.audio.remove, () => {
      this.clear();
      this.firstButton.focus();
    });
    const name = el("span", { class: "audio-name", title: file.name }, file.name);
    const head = el("div", { class: "audio-head" }, play, name, remove);
    this.element.replaceChildren(this.picker, head, place, this.partText);
    if (this.#part) {
      this.#part.start.set(part.start || "");
      this.#part.end.set(part.end ?? "");
    }
    try {
      const sound = await decode(file);
      if (ours !== this.#number) return;
      this.#sound = sound;
      const [{ Wave }, { Region }] = await Promise.all([import("../clips/wave.js"), import("../clips/region.js")]);
      const wave = await Wave.create(place, peaksOf(sound), sound.duration, fill(S.audio.region, { name: file.name }));
      if (ours !== this.#number) return;
      this.#wave = wave;
      this.#region = new Region(wave.place, sound.duration);
      this.#showPart();
    } catch {
      if (ours === this.#number) place.replaceChildren(el("p", { class: "field-help" }, S.audio.cannotShow));
    }
    this.element.dispatchEvent(new Event("change"));
  }

  /** @param {{start: Control, end: Control} | null} part the controls of where it starts and ends; null: the whole is used */
  choosesPart(part) {
    this.#part = part;
    this.#showControls();
    for (const control of part ? [part.start, part.end] : []) {
      control.input.oninput = () => this.#showPart();
    }
    this.#showPart();
  }

  /** The controls of the part are there when there is a file. */
  #showControls() {
    for (const control of this.#part ? [this.#part.start, this.#part.end] : []) control.element.hidden = !this.file;
  }

  get #seconds() {
    const length = this.#sound?.duration ?? 0;
    const typed = (/** @type {Control | undefined} */ control) => Number(control?.input.value || NaN);
    const start = Math.min(typed(this.#part?.start) || 0, length);
    const end = typed(this.#part?.end);
    return { start, end: end > start && end < length ? end : length, length };
  }

  #showPart() {
    if (!this.#wave || !this.partText) return;
    const { start, end, length } = this.#seconds;
    const isWhole = !this.#part || (start === 0 && end === length);
    const values = { start: number(start), end: number(end), length: number(length) };
    this.partText.textContent = `${fill(isWhole ? S.audio.whole : S.audio.part, values)}. ${this.#part ? S.audio.partHelp : ""}`;
    this.#region?.show(isWhole ? null : { start, end }, this.#part ? (region) => this.#choose(region) : null);
  }

  /** @param {{start: number, end: number}} region that was drawn */
  #choose({ start, end }) {
    if (!this.#part) return;
    const { length } = this.#seconds;
    this.#part.start.set(start > 0.01 ? number(start) : "");
    this.#part.end.set(end < length - 0.01 ? number(end) : "");
    this.#showPart();
  }

  #toggle() {
    if (!this.#sound) return;
    const { start, end } = this.#seconds;
    player.toggle({ id: `input-${this.#number}`, sound: this.#sound, start, end, onTime: (time) => this.#wave?.setTime(time) });
  }

  /** Use no file. */
  clear() {
    this.#number += 1;
    this.file = null;
    this.#sound = null;
    this.#wave?.destroy();
    this.#wave = null;
    this.#region = null;
    this.picker.value = "";
    for (const control of this.#part ? [this.#part.start, this.#part.end] : []) control.clear();
    this.#showControls();
    this.#showEmpty();
    this.element.dispatchEvent(new Event("change"));
  }
}
