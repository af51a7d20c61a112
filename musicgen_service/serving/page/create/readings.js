// @ts-check
/** Shows below what is written how the service reads it: the bars of chords, the times of sections, or what is wrong. */
import { S, fill } from "../strings.js";
import { readText } from "../base/api.js";
import { el } from "../base/dom.js";
import { clock } from "../base/format.js";
import { timeline } from "../clips/timeline.js";

/** @typedef {import("./control.js").Control} Control */
/** @typedef {{bars: {chord: string, notes: string[]}[][], count: number}} Progression */

/** Milliseconds after the last key before the service is asked. */
const PAUSE = 300;
/** Bars that are shown. */
const SHOWN = 16;

/** @param {Map<string, Control>} controls of the form */
export function showReadings(controls) {
  show(controls, "chords", ["text_chords"], (found) => chords(found, fill(S.chords.bars, { count: found.count })));
  show(controls, "sections", ["sections", "prompt", "bpm", "time_signature"], ({ sections, seconds }) => [
    timeline(sections),
    el("p", {}, fill(S.fields.sectionsLast, { length: clock(seconds) })),
    ...sections.flatMap((/** @type {any} */ section) => (section.chords ? chords(section.chords, fill(S.chords.barsOf, { name: section.name, count: section.chords.count })) : [])),
  ]);
}

/**
 * @param {Map<string, Control>} controls
 * @param {string} route of the service
 * @param {string[]} names of the inputs that it reads, first the one below which the answer is shown
 * @param {(found: any) => any[]} shown of its answer
 */
function show(controls, route, names, shown) {
  const control = controls.get(names[0]);
  if (!control) return;
  const place = el("div", { class: "reading", "aria-live": "polite" });
  control.element.append(place);
  let timer = 0;
  let asking = new AbortController();
  const ask = async () => {
    const { signal } = asking;
    try {
      const found = await readText(route, Object.fromEntries(names.map((name) => [name, controls.get(name)?.value])), signal);
      if (!signal.aborted) place.replaceChildren(...shown(found));
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(el("p", { class: "field-error" }, /** @type {Error} */ (error).message));
    }
  };
  const update = () => {
    clearTimeout(timer);
    asking.abort();
    asking = new AbortController();
    if (control.input.value.trim()) timer = setTimeout(ask, PAUSE);
    else place.replaceChildren();
  };
  for (const name of names) controls.get(name)?.whenSet(update);
}

/** @param {Progression} found @param {string} heading */
function chords({ bars, count }, heading) {
  const shown = bars.slice(0, SHOWN).map((bar) => el("span", { class: "bar" }, ...bar.map(chip)));
  const more = count > SHOWN ? fill(S.chords.more, { count: count - SHOWN }) : "";
  return [el("p", {}, heading), ...shown, more];
}

/** @param {{chord: string, notes: string[]}} chord */
const chip = ({ chord, notes }) =>
  el("span", { class: "chord" }, el("b", {}, chord), notes.length ? el("small", {}, notes.join(" ")) : null);
