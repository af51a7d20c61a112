// @ts-check
/** Shows, below the chords that are typed, how the service reads them. */
import { S, fill } from "../strings.js";
import { el } from "../base/dom.js";
import { readChords } from "../base/api.js";

/** @typedef {import("./control.js").Control} Control */

/** Milliseconds after the last key before the service is asked. */
const PAUSE = 300;
/** Bars that are shown. */
const SHOWN = 16;

/** @param {{chord: string, notes: string[]}} chord */
const chip = ({ chord, notes }) =>
  el("span", { class: "chord" }, el("b", {}, chord), notes.length ? el("small", {}, notes.join(" ")) : null);

/** @param {Control | undefined} control of the chords, where the service takes any */
export function showChords(control) {
  if (!control) return;
  const place = el("div", { class: "chord-reading", "aria-live": "polite" });
  control.element.append(place);
  let timer = 0;
  let asking = new AbortController();
  control.whenSet(() => {
    clearTimeout(timer);
    asking.abort();
    asking = new AbortController();
    const text = control.input.value.trim();
    if (!text) place.replaceChildren();
    else timer = setTimeout(() => ask(text, place, asking.signal), PAUSE);
  });
}

/** @param {string} text @param {HTMLElement} place @param {AbortSignal} signal */
async function ask(text, place, signal) {
  try {
    const { bars, count } = await readChords(text, signal);
    if (signal.aborted) return;
    const shown = bars.slice(0, SHOWN).map((/** @type {any[]} */ bar) => el("span", { class: "bar" }, ...bar.map(chip)));
    const more = count > SHOWN ? fill(S.chords.more, { count: count - SHOWN }) : "";
    place.replaceChildren(el("p", {}, fill(S.chords.bars, { count })), ...shown, more);
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(el("p", { class: "field-error" }, /** @type {Error} */ (error).message));
  }
}
