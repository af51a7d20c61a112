// @ts-check
/** Compares two clips: one key switches between them, at the same place and the same loudness. */
import { S, fill } from "../strings.js";
import { el, iconButton } from "../base/dom.js";
import { number, shorten } from "../base/format.js";
import { player } from "./player.js";

/** @typedef {{id: string, name: string, track: () => Promise<import("./player.js").Track>, loudness: () => number | null, mark: (letter: string) => void}} Entry */

/** @type {(Entry | null)[]} A and B */
const pair = [null, null];
let heard = 0;

/** @param {Entry} entry is made B when there is an A, or else A; one that is chosen already is taken out */
export function choose(entry) {
  const known = pair.findIndex((other) => other?.id === entry.id);
  if (known >= 0) {
    entry.mark("");
    pair[known] = null;
  } else {
    const free = pair[0] ? 1 : 0;
    pair[free]?.mark("");
    pair[free] = entry;
    entry.mark("AB"[free]);
  }
  refresh();
}

/** Take a clip out that is not shown any more. @param {string} id */
export function forget(id) {
  const known = pair.findIndex((other) => other?.id === id);
  if (known < 0) return;
  pair[known] = null;
  refresh();
}

/** @returns factors for A and B that make both as loud as the quieter one */
function gains() {
  const levels = pair.map((entry) => entry?.loudness() ?? null);
  if (levels.some((level) => level === null)) return { factors: [1, 1], known: false };
  const quietest = Math.min(.../** @type {number[]} */ (levels));
  return { factors: levels.map((level) => 10 ** ((quietest - /** @type {number} */ (level)) / 20)), known: true };
}

/** Go on with the other one, or begin with A. */
async function swap() {
  const [a, b] = pair;
  if (!a || !b) return;
  const isPlaying = pair.some((entry) => entry && player.isPlaying(entry.id));
  if (isPlaying) heard = player.isPlaying(a.id) ? 1 : 0;
  const entry = /** @type {Entry} */ (pair[heard]);
  const track = { ...(await entry.track()), gain: gains().factors[heard] };
  if (isPlaying) player.switchTo(track);
  else player.play(track);
  refresh();
}

function close() {
  for (const [index, entry] of pair.entries()) {
    entry?.mark("");
    pair[index] = null;
  }
  refresh();
}

/** Show what is known by now. */
export function refresh() {
  const bar = /** @type {HTMLElement} */ (document.getElementById("compare"));
  const [a, b] = pair;
  bar.hidden = !a && !b;
  if (bar.hidden) return;
  const names = pair.map((entry, index) =>
    el("span", { class: "compare-name", "data-heard": Boolean(b && a && index === heard) }, el("b", {}, "AB"[index]), ` ${entry ? shorten(entry.name, 40) : "–"}`),
  );
  const ready = Boolean(a && b);
  const press = el("button", { class: "button primary", disabled: !ready, on: { click: swap } }, S.compare.swap);
  const note = el("p", { class: "field-help" }, ready ? level() : S.compare.choose);
  bar.replaceChildren(el("strong", {}, S.compare.bar), ...names, press, iconButton("close", S.compare.close, close), note);
}

function level() {
  const { factors, known } = gains();
  if (!known) return `${S.compare.help} (${S.compare.unknown})`;
  const quieter = factors.findIndex((factor) => factor < 0.99);
  if (quieter < 0) return `${S.compare.help} (${S.compare.equal})`;
  const values = { name: "AB"[quieter], db: number(-20 * Math.log10(factors[quieter]), 1) };
  return `${S.compare.help} (${fill(S.compare.gain, values)})`;
}

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const isTyping = target.matches("input, textarea, select");
  if (event.key.toLowerCase() === "x" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) swap();
});
