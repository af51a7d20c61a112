// @ts-check
/** A waveform that can be sought in, drawn by wavesurfer.js, with a part that can be chosen. */
import { el } from "../base/dom.js";
import { colour } from "../base/theme.js";
import { number } from "../base/format.js";

/** Pixels. The same for all: the strict policy of the page names wavesurfer's style sheet, which has the height in it. */
const HEIGHT = 64;
const STEP = 1;

const colours = () => ({ waveColor: colour("wave"), progressColor: colour("accent"), cursorColor: colour("text") });

/** One waveform. */
export class Wave {
  /** @param {any} surfer @param {any} regions @param {HTMLElement} place @param {number} duration */
  constructor(surfer, regions, place, duration) {
    this.surfer = surfer;
    this.regions = regions;
    this.place = place;
    this.duration = duration;
    this.ending = new AbortController();
    document.addEventListener("theme", () => surfer.setOptions(colours()), { signal: this.ending.signal });
  }

  /**
   * @param {HTMLElement} place
   * @param {number[]} peaks 0 to 1
   * @param {number} duration seconds
   * @param {string} label for screen readers
   * @param {(seconds: number) => void} [onSeek] makes it a slider
   */
  static async create(place, peaks, duration, label, onSeek) {
    const [{ default: WaveSurfer }, { default: Regions }] = await Promise.all([
      import("../vendor/wavesurfer.js/wavesurfer.js"),
      onSeek ? { default: null } : import("../vendor/wavesurfer.js/regions.js"),
    ]);
    const container = el("div", { class: "wave" });
    place.replaceChildren(container);
    const regions = Regions?.create();
    const options = { height: HEIGHT, barWidth: 2, barGap: 1, barRadius: 2, cursorWidth: onSeek ? 1 : 0, normalize: true };
    const plugins = regions ? [regions] : [];
    const interact = Boolean(onSeek);
    const surfer = WaveSurfer.create({ container, peaks: [peaks], duration, plugins, interact, ...options, ...colours() });
    const wave = new Wave(surfer, regions, container, duration);
    if (onSeek) wave.#makeSlider(label, onSeek);
    else for (const [name, value] of [["role", "img"], ["aria-label", label]]) container.setAttribute(name, value);
    return wave;
  }

  /** @param {string} label @param {(seconds: number) => void} onSeek */
  #makeSlider(label, onSeek) {
    const { place, duration } = this;
    const values = { role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0, "aria-valuemax": number(duration), "aria-valuenow": 0 };
    for (const [name, value] of Object.entries(values)) place.setAttribute(name, String(value));
    this.surfer.on("interaction", onSeek);
    place.addEventListener("keydown", (event) => {
      const now = Number(place.getAttribute("aria-valuenow"));
      const steps = { ArrowRight: now + STEP, ArrowUp: now + STEP, ArrowLeft: now - STEP, ArrowDown: now - STEP, Home: 0, End: duration };
      const target = /** @type {Record<string, number>} */ (steps)[event.key];
      if (target === undefined) return;
      event.preventDefault();
      onSeek(Math.max(0, Math.min(target, duration - 0.01)));
    });
  }

  /** @param {number} seconds */
  setTime(seconds) {
    this.surfer.setTime(seconds);
    if (this.place.getAttribute("role") === "slider") this.place.setAttribute("aria-valuenow", seconds.toFixed(1));
  }

  /**
   * Show the part that is chosen; a new one can be drawn.
   * @param {{start: number, end: number} | null} part
   * @param {(part: {start: number, end: number}) => void} onChoose
   */
  showRegion(part, onChoose) {
    this.clearRegion();
    const look = { color: colour("region"), drag: true, resize: true };
    const shown = part && this.regions.addRegion({ ...part, ...look });
    const choose = (/** @type {any} */ region) => onChoose({ start: region.start, end: region.end });
    shown?.on("update-end", () => choose(shown));
    const stopDrawing = this.regions.enableDragSelection(look);
    const stopWaiting = this.regions.on("region-created", (/** @type {any} */ region) => {
      if (region !== shown) setTimeout(() => choose(region));
    });
    this.forget = () => {
      stopDrawing();
      stopWaiting();
    };
  }

  /** Show no part. */
  clearRegion() {
    this.forget?.();
    this.forget = undefined;
    this.regions?.clearRegions();
  }

  destroy() {
    this.ending.abort();
    this.surfer.destroy();
  }
}
