// @ts-check
/** A spectrogram: magnitudes in decibels on a logarithmic scale of frequency. */
import { S, fill } from "../strings.js";
import { el } from "../base/dom.js";

const SIZE = 1024;
const WIDTH = 800;
const HEIGHT = 128;
const LOWEST = 40;
/** Decibels below the loudest that are still drawn. */
const RANGE = 80;
/** Colours from silence to the loudest: red, green, blue. */
const COLOURS = [[13, 8, 48], [84, 24, 118], [182, 54, 95], [246, 128, 55], [252, 240, 160]];

const WINDOW = Float32Array.from({ length: SIZE }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / SIZE));

/**
 * The discrete Fourier transform in place, by Cooley and Tukey's algorithm.
 * @param {Float32Array} real of a length that is a power of two
 * @param {Float32Array} imaginary
 */
function transform(real, imaginary) {
  const { length } = real;
  for (let at = 1, to = 0; at < length; at += 1) {
    let bit = length >> 1;
    for (; to & bit; bit >>= 1) to ^= bit;
    to ^= bit;
    if (at < to) [real[at], real[to], imaginary[at], imaginary[to]] = [real[to], real[at], imaginary[to], imaginary[at]];
  }
  for (let half = 1; half < length; half *= 2) {
    for (let offset = 0; offset < half; offset += 1) {
      const angle = (-Math.PI * offset) / half;
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      for (let a = offset; a < length; a += 2 * half) {
        const b = a + half;
        const [x, y] = [real[b] * cosine - imaginary[b] * sine, real[b] * sine + imaginary[b] * cosine];
        [real[b], imaginary[b], real[a], imaginary[a]] = [real[a] - x, imaginary[a] - y, real[a] + x, imaginary[a] + y];
      }
    }
  }
}

/** @param {number} share 0 to 1 @returns red, green, blue */
function colourOf(share) {
  const at = Math.max(0, Math.min(share, 0.9999)) * (COLOURS.length - 1);
  const [low, high] = [COLOURS[Math.floor(at)], COLOURS[Math.floor(at) + 1]];
  return low.map((value, index) => value + (high[index] - value) * (at % 1));
}

/** @param {AudioBuffer} sound @returns {Float32Array[]} decibels of each frequency, column by column */
function magnitudes(sound) {
  const samples = sound.getChannelData(0);
  return Array.from({ length: WIDTH }, (_, column) => {
    const start = Math.round((column / WIDTH) * Math.max(0, samples.length - SIZE));
    const real = Float32Array.from({ length: SIZE }, (_unused, at) => (samples[start + at] ?? 0) * WINDOW[at]);
    const imaginary = new Float32Array(SIZE);
    transform(real, imaginary);
    return Float32Array.from({ length: SIZE / 2 }, (_unused, at) => 10 * Math.log10(real[at] ** 2 + imaginary[at] ** 2 + 1e-12));
  });
}

/**
 * @param {AudioBuffer} sound
 * @param {string} name of what it is of
 * @returns {HTMLCanvasElement}
 */
export function spectrogram(sound, name) {
  const highest = sound.sampleRate / 2;
  const label = fill(S.clips.spectrogramOf, { name, khz: highest / 1000 });
  const canvas = el("canvas", { class: "spectrogram", width: WIDTH, height: HEIGHT, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const image = context.createImageData(WIDTH, HEIGHT);
  const columns = magnitudes(sound);
  const loudest = columns.reduce((most, column) => Math.max(most, ...column), -100);
  for (let y = 0; y < HEIGHT; y += 1) {
    const frequency = LOWEST * (highest / LOWEST) ** (1 - (y + 0.5) / HEIGHT);
    const bin = Math.min(SIZE / 2 - 1, Math.round((frequency / highest) * (SIZE / 2)));
    for (let x = 0; x < WIDTH; x += 1) {
      image.data.set([...colourOf(1 + (columns[x][bin] - loudest) / RANGE), 255], 4 * (y * WIDTH + x));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
