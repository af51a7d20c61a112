// @ts-check
/** The sections of a piece, side by side, each as wide as it is long. */
import { S, fill } from "../strings.js";
import { el } from "../base/dom.js";
import { clock } from "../base/format.js";

/** @typedef {{name: string, start: number, end: number}} Section in seconds */

/**
 * @param {Section[]} sections in order, of which each begins where the one before it ends
 * @param {((seconds: number) => void) | null} [onPick] makes each a button, which is called with its start
 */
export function timeline(sections, onPick = null) {
  const before = sections[0].start > 0 ? [piece({ name: "", start: 0, end: sections[0].start }, null)] : [];
  return el("ol", { class: "timeline", "aria-label": S.clips.sections }, ...before, ...sections.map((section) => piece(section, onPick)));
}

/** @param {Section} section @param {((seconds: number) => void) | null} onPick */
function piece({ name, start, end }, onPick) {
  const title = fill(S.clips.section, { name, start: clock(start), end: clock(end) });
  const texts = [el("span", { class: "timeline-name" }, name), el("span", { class: "timeline-time" }, clock(start))];
  const on = { click: () => onPick?.(start) };
  const item = el("li", name ? { title } : { class: "timeline-given" });
  if (name) item.append(onPick ? el("button", { "aria-label": title, on }, ...texts) : el("span", { class: "timeline-text" }, ...texts));
  item.style.flexGrow = String(end - start);
  return item;
}
