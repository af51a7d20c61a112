// @ts-check
/** A waveform that can be sought in, drawn by wavesurfer.js. */
import { el } from "../base/dom.js";
import { colour } from "../base/theme.js";
import { number } from "../base/format.js";

/** Pixels. The same for all: the strict policy of the page names wavesurfer's style sheet, which has the height in it. */
const HEIGHT = 64;
const STEP = 1;

const colours = () => ({ waveColor: colour("wave"), progressColor: colour("accent"), cursorColor: colour("text") });

/** One waveform. */
export class Wave {
  /** @param {any} surfer @param {HTMLElement} place @param {number} duration */
  constructor(surfer, place, duration) {
    this.surfer = surfer;
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
    const { default: WaveSurfer } = await import("../vendor/wavesurfer.js/wavesurfer.js");
    const container = el("div", { class: "wave" });
    place.replaceChildren(container);
    const options = { height: HEIGHT, barWidth: 2, barGap: 1, barRadius: 2, cursorWidth: onSeek ? 1 : 0, normalize: true };
    const interact = Boolean(onSeek);
    const surfer = WaveSurfer.create({ container, peaks: [peaks], duration, interact, ...options, ...colours() });
    const wave = new Wave(surfer, container, duration);
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

  destroy() {
    this.ending.abort();
    this.surfer.destroy();
  }
}
