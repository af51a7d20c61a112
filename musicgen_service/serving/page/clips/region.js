// @ts-check
/** A part of a waveform that is drawn, moved and stretched with a pointer; the keyboard has the two number fields. */
import { el } from "../base/dom.js";

/** Pixels around an edge in which it is taken hold of. */
const EDGE = 10;
/** Pixels that a new part has at least. */
const SHORTEST = 4;

/** @typedef {{start: number, end: number}} Part in seconds */

/** The part of one waveform. */
export class Region {
  /** @type {Part | null} */
  #part = null;
  /** @type {((part: Part) => void) | null} */
  #choose = null;

  /** @param {HTMLElement} place of the waveform @param {number} duration seconds */
  constructor(place, duration) {
    this.place = place;
    this.duration = duration;
    this.shade = el("div", { class: "region", hidden: true });
    place.append(this.shade);
    place.addEventListener("pointerdown", (event) => this.#begin(event));
  }

  /** @param {Part | null} part @param {((part: Part) => void) | null} choose called with a part that was drawn; null: none can be */
  show(part, choose) {
    this.#choose = choose;
    this.place.classList.toggle("choosable", choose !== null);
    this.#draw(part);
  }

  /** @param {Part | null} part */
  #draw(part) {
    this.#part = part;
    this.shade.hidden = !part;
    if (!part) return;
    this.shade.style.left = `${(100 * part.start) / this.duration}%`;
    this.shade.style.width = `${(100 * (part.end - part.start)) / this.duration}%`;
  }

  /** @param {PointerEvent} event @returns seconds */
  #timeAt({ clientX }) {
    const { left, width } = this.place.getBoundingClientRect();
    return Math.max(0, Math.min(1, (clientX - left) / width)) * this.duration;
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    const choose = this.#choose;
    if (!choose || event.button) return;
    event.preventDefault();
    const from = this.#timeAt(event);
    const before = this.#part;
    const near = (EDGE / this.place.clientWidth) * this.duration;
    const change = before ? this.#changeOf(before, from, near) : drawn(from);
    const ending = new AbortController();
    const move = (/** @type {PointerEvent} */ moved) => this.#draw(change(this.#timeAt(moved)));
    const end = () => {
      ending.abort();
      const part = this.#part;
      if (part && part !== before && part.end - part.start > (SHORTEST / this.place.clientWidth) * this.duration) choose(part);
      else this.#draw(before);
    };
    this.place.setPointerCapture(event.pointerId);
    this.place.addEventListener("pointermove", move, { signal: ending.signal });
    for (const name of ["pointerup", "pointercancel"]) this.place.addEventListener(name, end, { signal: ending.signal });
  }

  /** @param {Part} part @param {number} from @param {number} near @returns {(time: number) => Part} what a movement does */
  #changeOf({ start, end }, from, near) {
    if (Math.abs(from - start) < near) return (time) => ({ start: Math.min(time, end), end });
    if (Math.abs(from - end) < near) return (time) => ({ start, end: Math.max(time, start) });
    if (from < start || from > end) return drawn(from);
    return (time) => {
      const shift = Math.max(-start, Math.min(time - from, this.duration - end));
      return { start: start + shift, end: end + shift };
    };
  }
}

/** @param {number} from @returns {(time: number) => Part} */
function drawn(from) {
  return (time) => ({ start: Math.min(from, time), end: Math.max(from, time) });
}
