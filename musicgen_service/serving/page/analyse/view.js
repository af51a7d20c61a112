// @ts-check
/** What the service hears in a recording. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { announce, el } from "../base/dom.js";
import { clock, number } from "../base/format.js";
import { AudioInput } from "../create/audio_input.js";
import { decode, peaksOf } from "../clips/peaks.js";
import { player } from "../clips/player.js";
import { clipFile, saveFile } from "../clips/row.js";
import { Wave } from "../clips/wave.js";
import { chordName, lanes } from "./lanes.js";

/** Below this, what was heard is likely to be wrong. */
const UNSURE = 0.3;
/** Confidence of an alternative that is worth saying. */
const LIKELY = 0.1;
/** Relative difference below which two tempi are the same. */
const SAME_TEMPO = 0.04;

/** The view that analyses a file. */
export class AnalyseView {
  #ending = new AbortController();

  /** @param {HTMLElement} element */
  constructor(element) {
    this.input = new AudioInput(S.fields.names.input_audio);
    this.button = el("button", { class: "button primary", disabled: true, on: { click: () => this.#run() } }, S.analyse.run);
    this.input.element.addEventListener("change", () => {
      this.button.disabled = !this.input.file;
    });
    this.result = el("div", { class: "analysis", "aria-live": "polite" });
    element.replaceChildren(
      el("div", { class: "view" }, el("h1", {}, S.analyse.heading), el("p", { class: "lead" }, S.analyse.help), el("div", { class: "panel" }, this.input.element, el("div", { class: "form-buttons" }, this.button)), this.result),
    );
  }

  /** @param {import("../library/database.js").Clip} clip */
  async take(clip) {
    await this.input.take(clipFile(clip));
    await this.#run(clip.analysis);
  }

  /** @param {any} [known] what was heard before */
  async #run(known) {
    const { file } = this.input;
    if (!file) return;
    this.#ending.abort();
    const ending = new AbortController();
    this.#ending = ending;
    const cancel = el("button", { class: "button", on: { click: () => this.#cancel() } }, S.jobs.cancel);
    this.result.replaceChildren(el("div", { class: "progress-line" }, el("p", {}, fill(S.analyse.running, { name: file.name })), cancel), el("progress", { "aria-label": S.analyse.heading }));
    try {
      const heard = known ?? (await api.analyse(file, file.name, ending.signal));
      if (!ending.signal.aborted) await this.#show(file, heard, ending.signal);
    } catch (error) {
      if (ending.signal.aborted) return;
      const reason = /** @type {Error} */ (error).message;
      this.result.replaceChildren(el("div", { class: "failure", role: "alert" }, fill(S.analyse.failed, { reason })));
    }
  }

  #cancel() {
    this.#ending.abort();
    this.result.replaceChildren();
    announce(S.jobs.cancelled);
  }

  /** @param {File} file @param {any} heard @param {AbortSignal} signal */
  async #show(file, heard, signal) {
    const place = el("div", { class: "lanes-wave" });
    const json = new Blob([JSON.stringify(heard, null, 2)], { type: "application/json" });
    const save = el("button", { class: "button", on: { click: () => saveFile(json, `${file.name.replace(/\.\w+$/, "")}.json`) } }, S.analyse.download);
    this.result.replaceChildren(facts(heard), el("div", { class: "lanes-box" }, place, lanes(heard, file.name, signal)), chordTable(heard.chords), save);
    const sound = await decode(file).catch(() => null);
    if (!sound || signal.aborted) return;
    const track = { id: "analysed", sound, onTime: (/** @type {number} */ time) => wave.setTime(time) };
    const seek = (/** @type {number} */ seconds) => player.play(track, seconds);
    const wave = await Wave.create(place, peaksOf(sound), sound.duration, fill(S.clips.position, { name: file.name }), seek);
  }
}

/** @param {any} heard */
function facts(heard) {
  const sure = (/** @type {number | null} */ confidence) => {
    if (confidence === null || confidence === undefined) return "";
    return fill(S.analyse.confidence, { percent: Math.round(100 * confidence) }) + (confidence < UNSURE ? ` (${S.analyse.unsure})` : "");
  };
  const other = (/** @type {any} */ likely, /** @type {(item: any) => string} */ say) => (likely ? fill(S.analyse.or, { what: say(likely) }) : "");
  const isLikely = (/** @type {any} */ { confidence }) => confidence >= LIKELY;
  const tempo = heard.tempo_alternatives.find((/** @type {any} */ item) => isLikely(item) && Math.abs(item.tempo_bpm / heard.tempo_bpm - 1) > SAME_TEMPO);
  const bpm = (/** @type {number} */ value) => fill(S.clips.bpm, { bpm: number(value, 1) });
  const entries = [
    [S.analyse.tempo, heard.tempo_bpm ? bpm(heard.tempo_bpm) : S.analyse.none, sure(heard.tempo_confidence), other(tempo, (item) => bpm(item.tempo_bpm))],
    [S.analyse.key, heard.key ?? S.analyse.none, sure(heard.key_confidence), other(heard.key_alternatives.find(isLikely), (item) => item.key)],
    [S.analyse.metre, heard.metre ?? S.analyse.none, heard.beats.length ? fill(S.analyse.bars, { beats: heard.beats.length, bars: heard.downbeats.length }) : ""],
    [S.analyse.loudness, heard.loudness_lufs === null ? S.clips.silent : fill(S.clips.lufs, { lufs: heard.loudness_lufs.toFixed(1) })],
    [S.analyse.length, clock(heard.seconds), `${heard.sample_rate} Hz, ${heard.channels === 2 ? S.models.stereo : S.models.mono}`],
  ];
  return el(
    "dl",
    { class: "facts-grid" },
    ...entries.map(([name, value, ...more]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("strong", {}, value), ...more.filter(Boolean).map((text) => el("span", {}, text))))),
  );
}

/** @param {{start: number, end: number, label: string}[]} chords */
function chordTable(chords) {
  if (!chords.length) return "";
  const head = el("tr", {}, ...[S.analyse.chord, S.analyse.from, S.analyse.to].map((text) => el("th", { scope: "col" }, text)));
  const rows = chords.map(({ start, end, label }) => el("tr", {}, ...[chordName(label), start.toFixed(2), end.toFixed(2)].map((text) => el("td", {}, text))));
  return el("details", { class: "advanced" }, el("summary", {}, S.analyse.table), el("table", { class: "recipe" }, el("thead", {}, head), el("tbody", {}, ...rows)));
}
