// @ts-check
/** Plays one sound at a time, with repeats that have no gap, and switches between two at the same place. */
import { RATE } from "./peaks.js";

/**
 * @typedef {object} Track
 * @property {string} id
 * @property {AudioBuffer} sound
 * @property {number} [start] seconds; of the part that is played
 * @property {number} [end]
 * @property {boolean} [repeats]
 * @property {number} [gain] a factor
 * @property {(seconds: number) => void} [onTime] called on every frame while it plays
 */

/** Seconds in which a sound fades in and out, so that nothing clicks. */
const FADE = 0.004;

/** Dispatches `change` when something starts or stops to play. */
class Player extends EventTarget {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {Track | null} */
  #track = null;
  /** @type {AudioBufferSourceNode | null} */
  #source = null;
  /** @type {GainNode | null} */
  #volume = null;
  /** Where the track was, in seconds, at `#since` of the context's clock. */
  #from = 0;
  #since = 0;
  /** @type {Map<string, number>} where sounds that are not playing go on, in seconds */
  #places = new Map();

  /** The context, which a browser lets sound only after a press of a button. */
  get context() {
    this.#context ??= new AudioContext({ sampleRate: RATE });
    this.#context.resume();
    return this.#context;
  }

  /** @param {string} id */
  isPlaying(id) {
    return this.#track?.id === id;
  }

  /** The id of what is playing, or null. */
  get playing() {
    return this.#track?.id ?? null;
  }

  /** Where the sound is, in seconds. */
  get time() {
    if (!this.#track || !this.#context) return 0;
    const { start = 0, end = this.#track.sound.duration, repeats } = this.#track;
    const time = this.#from + Math.max(0, this.#context.currentTime - this.#since);
    return repeats && time >= end ? start + ((time - start) % (end - start)) : Math.min(time, end);
  }

  /** @param {string} id @returns where a sound is, or goes on, in seconds */
  placeOf(id) {
    return this.isPlaying(id) ? this.time : (this.#places.get(id) ?? 0);
  }

  /** @param {Track} track */
  toggle(track) {
    if (this.isPlaying(track.id)) this.pause();
    else this.play(track);
  }

  /** @param {Track} track @param {number} [from] seconds; by default where it was */
  play(track, from) {
    this.pause();
    const { start = 0, end = track.sound.duration } = track;
    const place = from ?? this.#places.get(track.id) ?? start;
    this.#begin(track, place >= start && place < end - 0.02 ? place : start);
    this.#tick();
    this.#changed();
  }

  /** Go on with another sound at the same place, without a gap. @param {Track} track */
  switchTo(track) {
    const place = this.time;
    this.#end();
    this.#begin(track, Math.min(place, track.sound.duration));
    this.#changed();
  }

  /** Stop; `play` goes on from here. */
  pause() {
    if (!this.#track) return;
    this.#places.set(this.#track.id, this.time);
    this.#end();
    this.#track = null;
    this.#changed();
  }

  /** @param {Track} track @param {number} seconds */
  seek(track, seconds) {
    this.#places.set(track.id, seconds);
    if (this.isPlaying(track.id)) this.play(track, seconds);
    else track.onTime?.(seconds);
  }

  /** @param {boolean} repeats whether what is playing starts again at its end */
  repeat(repeats) {
    if (!this.#track || !this.#source) return;
    const place = this.time;
    this.#track.repeats = repeats;
    this.#source.loop = repeats;
    this.#from = place;
    this.#since = this.context.currentTime;
  }

  /** @param {Track} track @param {number} place */
  #begin(track, place) {
    const { start = 0, end = track.sound.duration, repeats = false } = track;
    const { context } = this;
    const source = new AudioBufferSourceNode(context, { buffer: track.sound, loop: repeats, loopStart: start, loopEnd: end });
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.setTargetAtTime(track.gain ?? 1, context.currentTime, FADE);
    source.connect(volume).connect(context.destination);
    source.start(0, place);
    source.onended = () => {
      if (this.#source !== source) return;
      this.pause();
      this.#places.delete(track.id);
      track.onTime?.(start);
    };
    if (end < track.sound.duration && !repeats) source.stop(context.currentTime + end - place);
    this.#track = track;
    this.#source = source;
    this.#volume = volume;
    this.#from = place;
    this.#since = context.currentTime;
  }

  #end() {
    const source = this.#source;
    this.#source = null;
    if (!source || !this.#context || !this.#volume) return;
    this.#volume.gain.setTargetAtTime(0, this.#context.currentTime, FADE);
    source.stop(this.#context.currentTime + 5 * FADE);
  }

  #tick() {
    const track = this.#track;
    if (!track) return;
    track.onTime?.(this.time);
    requestAnimationFrame(() => this.#track && this.#tick());
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export const player = new Player();
