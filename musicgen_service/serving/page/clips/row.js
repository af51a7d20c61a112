// @ts-check
/** A clip as it is shown: waveform, what is heard in it, and what can be done with it. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el, icon, iconButton, announce } from "../base/dom.js";
import { clock, number, shorten } from "../base/format.js";
import { menu } from "../base/menu.js";
import { taskTexts } from "../create/tasks.js";
import * as database from "../library/database.js";
import * as compare from "./compare.js";
import { listen } from "./listening.js";
import { decode } from "./peaks.js";
import { player } from "./player.js";
import { timeline } from "./timeline.js";
import { Wave } from "./wave.js";

/** @typedef {import("../library/database.js").Clip} Clip */

const FORMATS = ["wav", "mp3", "flac", "ogg"];
const NAME_LENGTH = 60;

/** @param {Clip} clip @returns which of the clips of its request it is */
export function clipPart(clip) {
  const number = fill(S.clips.variation, { number: clip.number });
  return clip.part ? `${number}: ${clip.part}` : number;
}

/** @param {Clip} clip @returns what it is called on the page */
export function clipName(clip) {
  const said = clip.inputs.prompt || clip.inputs.text_chords || [taskTexts(clip.inputs.task ?? "").name, clip.source].filter(Boolean).join(": ") || clip.name;
  return `${shorten(String(said), NAME_LENGTH)} · ${clipPart(clip)}`;
}

/** @param {Clip} clip @returns {File} under the service's name for it */
export function clipFile(clip) {
  return new File([clip.blob], clip.name, { type: clip.blob.type });
}

/** @param {Blob} blob @param {string} name */
export function saveFile(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Ask the form to make something of a clip. @param {string} what @param {Clip} clip @param {object} [more] */
function use(what, clip, more = {}) {
  document.dispatchEvent(new CustomEvent("use-clip", { detail: { what, clip, ...more } }));
}

/** One clip on the page. */
export class Row {
  #repeats = false;

  /** @param {Clip} clip @param {{heading?: string, onRemove?: () => void}} [options] `heading`: what is above it */
  constructor(clip, { heading, onRemove } = {}) {
    this.clip = clip;
    this.name = clipName(clip);
    this.onRemove = onRemove;
    this.#repeats = clip.inputs.task === "loop";
    this.playButton = iconButton("play", `${S.clips.play}: ${this.name}`, () => this.#toggle(), { class: "icon-button play-button" });
    this.time = el("span", { class: "time" }, clock(clip.seconds));
    this.facts = el("span", { class: "facts" });
    this.letter = el("span", { class: "letter", hidden: true });
    this.place = el("div", { class: "clip-wave" });
    this.below = el("div", { class: "clip-below" });
    this.label = el("span", { class: "clip-label", hidden: !heading }, this.letter, heading ?? "");
    const seed = clip.inputs.seed ? el("span", { class: "seed" }, fill(S.clips.seed, { seed: clip.inputs.seed })) : null;
    const line = el("div", { class: "clip-line" }, this.label, this.time, el("span", { class: "heard" }, this.facts, seed));
    this.element = el(
      "article",
      { class: "clip", "aria-label": this.name, data: { clip: clip.id } },
      line,
      this.playButton,
      this.place,
      clip.sections ? timeline(clip.sections, (seconds) => this.playFrom(seconds)) : null,
      this.#actions(),
      this.below,
    );
    this.#draw();
    this.#listen();
    this.ending = new AbortController();
    player.addEventListener("change", () => this.#showPlaying(), { signal: this.ending.signal });
  }

  #actions() {
    const { clip } = this;
    const favourite = iconButton("star", S.clips.favourite, () => this.#setFavourite(favourite), { "aria-pressed": String(clip.favourite) });
    const repeat = iconButton("repeat", S.clips.loop, () => this.#setRepeat(repeat), { "aria-pressed": String(this.#repeats) });
    const pair = el("button", { class: "text-button", title: S.compare.help, on: { click: () => compare.choose(this.#entry) } }, S.clips.compare);
    const uses = menu(S.clips.use, el("span", {}, S.clips.use), () => this.#uses(), "text-button");
    const downloads = menu(S.clips.download, icon("download"), () => this.#downloads());
    const more = menu(S.clips.more, icon("more"), () => this.#more());
    return el("div", { class: "clip-actions" }, favourite, repeat, downloads, uses, pair, more);
  }

  async #draw() {
    const { clip } = this;
    this.wave = await Wave.create(this.place, clip.peaks, clip.seconds, fill(S.clips.position, { name: this.name }), async (seconds) =>
      player.seek(await this.#track(), seconds),
    );
  }

  async #listen() {
    this.facts.textContent = this.clip.analysis ? "" : S.clips.analysing;
    const heard = await listen(this.clip);
    if (!heard) {
      this.facts.textContent = "";
      return;
    }
    const tempo = heard.tempo_bpm ? fill(S.clips.bpm, { bpm: number(heard.tempo_bpm, 1) }) : S.clips.noBeat;
    const loudness = heard.loudness_lufs === null ? S.clips.silent : fill(S.clips.lufs, { lufs: heard.loudness_lufs.toFixed(1) });
    compare.refresh();
    this.facts.textContent = [tempo, heard.key ?? S.clips.noKey, loudness].join(" · ");
  }

  /** @returns {Promise<import("./player.js").Track>} */
  async #track() {
    const sound = await decode(this.clip.blob);
    return { id: this.clip.id, sound, repeats: this.#repeats, onTime: (seconds) => this.#showTime(seconds) };
  }

  /** @param {number} seconds */
  #showTime(seconds) {
    this.wave?.setTime(seconds);
    this.time.textContent = `${clock(seconds)} / ${clock(this.clip.seconds)}`;
  }

  async #toggle() {
    player.context; // wakes it within the press of the button
    player.toggle(await this.#track());
  }

  /** Play it from somewhere on. @param {number} seconds */
  async playFrom(seconds) {
    player.play(await this.#track(), seconds);
  }

  #showPlaying() {
    const isPlaying = player.isPlaying(this.clip.id);
    const label = `${isPlaying ? S.clips.pause : S.clips.play}: ${this.name}`;
    this.playButton.replaceChildren(icon(isPlaying ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", label);
    this.playButton.title = label;
    this.element.toggleAttribute("data-playing", isPlaying);
  }

  get #entry() {
    return {
      id: this.clip.id,
      name: this.name,
      track: () => this.#track(),
      loudness: () => this.clip.analysis?.loudness_lufs ?? null,
      mark: (/** @type {string} */ letter) => {
        this.letter.textContent = letter;
        this.letter.hidden = !letter;
        this.label.hidden = !letter && !this.label.textContent;
      },
    };
  }

  /** @param {HTMLButtonElement} button */
  async #setFavourite(button) {
    this.clip.favourite = !this.clip.favourite;
    button.setAttribute("aria-pressed", String(this.clip.favourite));
    await database.saveClip(this.clip).catch(() => {});
  }

  /** @param {HTMLButtonElement} button */
  #setRepeat(button) {
    this.#repeats = !this.#repeats;
    button.setAttribute("aria-pressed", String(this.#repeats));
    if (player.isPlaying(this.clip.id)) player.repeat(this.#repeats);
  }

  #uses() {
    const { clip } = this;
    const place = player.placeOf(clip.id);
    return [
      { label: S.clips.asMelody, act: () => use("melody", clip) },
      { label: S.clips.continueEnd, act: () => use("continuation", clip) },
      { label: `${S.clips.continueHere} (${clock(place)})`, act: () => use("continuation", clip, { end: place }), hidden: place <= 0.1 },
      { label: S.clips.loopThis, act: () => use("loop", clip) },
      { label: S.clips.repaint, act: () => use("repaint", clip) },
      { label: S.clips.remix, act: () => use("remix", clip) },
      { label: S.clips.analyse, act: () => use("analyse", clip) },
    ];
  }

  #downloads() {
    const own = this.clip.name.split(".").pop();
    const actions = FORMATS.map((format) => ({ label: fill(S.clips.downloadAs, { format }), act: () => this.#download(format, own) }));
    const { midi } = this.clip;
    const stem = this.clip.name.replace(/\.\w+$/, "");
    return [...actions, { label: S.clips.midi, act: () => midi && saveFile(midi, `${stem}.mid`), hidden: !midi }];
  }

  /** @param {string} format @param {string | undefined} own format of the clip */
  async #download(format, own) {
    const file = clipFile(this.clip);
    if (format === own) {
      saveFile(file, file.name);
      return;
    }
    const note = announce(S.clips.converting);
    try {
      saveFile(await api.download(this.clip.url, format), file.name.replace(/\w+$/, format));
    } catch (error) {
      announce(fill(S.clips.notConverted, { reason: /** @type {Error} */ (error).message }));
    }
    note.remove();
  }

  #more() {
    const { clip } = this;
    return [
      { label: S.clips.again, act: () => use("again", clip) },
      { label: S.clips.anotherSeed, act: () => use("another-seed", clip) },
      { label: S.clips.code, act: () => this.#showCode() },
      { label: S.clips.recipe, act: () => this.#show("recipe") },
      { label: S.clips.spectrogram, act: () => this.#show("spectrogram") },
      { label: S.clips.remove, act: () => this.onRemove?.(), hidden: !this.onRemove },
    ];
  }

  async #showCode() {
    const files = await database.filesOf(this.clip);
    const names = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, file.name]));
    const { showPrograms } = await import("./snippets.js");
    showPrograms(this.clip.inputs, names);
  }

  /** Show something below the waveform, or hide it again. @param {"recipe" | "spectrogram"} what */
  async #show(what) {
    const known = this.below.querySelector(`[data-shown="${what}"]`);
    if (known) {
      known.remove();
      return;
    }
    const content = what === "recipe" ? recipeTable(this.clip) : await this.#spectrogram();
    content.dataset.shown = what;
    this.below.append(content);
  }

  async #spectrogram() {
    const { spectrogram } = await import("./spectrogram.js");
    return spectrogram(await decode(this.clip.blob), this.name);
  }

  /** Take it from the page. */
  destroy() {
    this.ending.abort();
    this.wave?.destroy();
    compare.forget(this.clip.id);
    this.element.remove();
  }
}

/** @param {Clip} clip */
function recipeTable(clip) {
  const rows = Object.entries(clip.inputs).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value))));
  return el("table", { class: "recipe" }, el("tbody", {}, ...rows));
}
