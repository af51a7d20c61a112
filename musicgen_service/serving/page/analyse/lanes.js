// @ts-check
/** Draws beats and bars over a waveform, and chords below it. */
import { S, fill } from "../strings.js";
import { el } from "../base/dom.js";
import { colour } from "../base/theme.js";

const HEIGHT = 96;
const WAVE = 64;
/** Pixels that a chord's name needs. */
const LETTER = 8;

/**
 * A canvas for the place that a waveform has; drawn again when its width or the theme changes.
 * @param {{seconds: number, beats: number[], downbeats: number[], chords: {start: number, end: number, label: string}[]}} analysis
 * @param {string} name of the file
 * @param {AbortSignal} signal ends the drawing
 */
export function lanes(analysis, name, signal) {
  const canvas = el("canvas", { class: "lanes", role: "img", "aria-label": fill(S.analyse.picture, { name }) });
  const redraw = () => draw(canvas, analysis);
  const observer = new ResizeObserver(redraw);
  observer.observe(canvas);
  document.addEventListener("theme", redraw, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
  return canvas;
}

/** Qualities of chords, by their end in the service's labels, as musicians write them. */
const QUALITIES = { maj: "", min: "m", maj7: "maj7", min7: "m7", 7: "7", dim: "dim", dim7: "dim7", hdim7: "m7♭5", aug: "aug", sus2: "sus2", sus4: "sus4", maj6: "6", min6: "m6", minmaj7: "m(maj7)" };

/** @param {string} label as `E:min7` @returns as `Em7` */
export function chordName(label) {
  const [root, quality = ""] = label.split(":");
  if (label === "N") return "–";
  return root.replace(/b$/, "♭").replace("#", "♯") + (/** @type {Record<string, string>} */ (QUALITIES)[quality] ?? quality);
}

/** @param {HTMLCanvasElement} canvas @param {Parameters<typeof lanes>[0]} analysis */
function draw(canvas, { seconds, beats, downbeats, chords }) {
  const width = canvas.clientWidth;
  const scale = devicePixelRatio;
  canvas.width = width * scale;
  canvas.height = HEIGHT * scale;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(scale, scale);
  const place = (/** @type {number} */ time) => (time / seconds) * width;
  const lines = (/** @type {number[]} */ times, /** @type {string} */ style, /** @type {number} */ thickness) => {
    context.fillStyle = style;
    for (const time of times) context.fillRect(place(time) - thickness / 2, 0, thickness, WAVE);
  };
  // Beats closer than this could not be told apart.
  if (place(seconds) / Math.max(1, beats.length) > 3) lines(beats, colour("beat"), 1);
  lines(downbeats, colour("bar"), 2);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const { start, end, label } of chords) {
    const [left, right] = [place(start), place(end)];
    context.fillStyle = label === "N" ? colour("line") : colour(/min|dim/.test(label) ? "minor" : "major");
    context.fillRect(left, WAVE + 8, Math.max(1, right - left - 1), HEIGHT - WAVE - 8);
    const name = chordName(label);
    if (right - left < LETTER * name.length + 6) continue;
    context.fillStyle = colour("text");
    context.fillText(name, left + 5, WAVE + 8 + (HEIGHT - WAVE - 8) / 2 + 1);
  }
}
