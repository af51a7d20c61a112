// @ts-check
/** Shows below the sections that are written how the service reads them: their times, or what is wrong. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el } from "../base/dom.js";
import { clock } from "../base/format.js";
import { timeline } from "../clips/timeline.js";

/** Milliseconds after the last key. */
const PAUSE = 300;
const INPUTS = ["sections", "prompt", "bpm", "time_signature"];

/** @typedef {import("./control.js").Control} Control */

/** @param {Map<string, Control>} controls of the form */
export function showReading(controls) {
  const control = controls.get("sections");
  if (!control) return;
  const place = el("div", { class: "reading", "aria-live": "polite" });
  control.element.append(place);
  let timer = 0;
  let asking = new AbortController();
  const update = () => {
    clearTimeout(timer);
    asking.abort();
    asking = new AbortController();
    if (!control.input.value.trim()) place.replaceChildren();
    else timer = setTimeout(() => ask(controls, place, asking.signal), PAUSE);
  };
  for (const name of INPUTS) controls.get(name)?.whenSet(update);
}

/** @param {Map<string, Control>} controls @param {HTMLElement} place @param {AbortSignal} signal */
async function ask(controls, place, signal) {
  const inputs = Object.fromEntries(INPUTS.map((name) => [name, controls.get(name)?.value]));
  try {
    const { sections, seconds } = await api.readSections(inputs, signal);
    if (signal.aborted) return;
    place.replaceChildren(timeline(sections), el("p", { class: "reading-length" }, fill(S.fields.sectionsLast, { length: clock(seconds) })));
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(el("p", { class: "field-error" }, /** @type {Error} */ (error).message));
  }
}
