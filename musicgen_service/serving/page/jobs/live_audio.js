// @ts-check
/** Plays a clip while it is made: 16-bit wav, piece by piece as it arrives. */
import { send } from "../base/api.js";
import { player } from "../clips/player.js";

/** Seconds between the arrival of the first piece and its sound, so that a late piece leaves no gap. */
const LEAD = 0.1;
/** A service may be slower for a while than it says. */
const RESERVE = 1.15;

/** @param {Uint8Array} bytes the beginning of a wav file @returns what its header says; null while it is not complete */
function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let found = { channels: 1, rate: 0, offset: 0 };
  for (let at = 12; at + 8 <= bytes.length; at += 8 + view.getUint32(at + 4, true)) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (name === "data") return { ...found, offset: at + 8 };
    if (name === "fmt ") found = { ...found, channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true) };
  }
  return null;
}

/** The sound of one prediction. Dispatches `end` when it has been heard to its end, or was stopped. */
export class LiveAudio extends EventTarget {
  #ending = new AbortController();
  /** @type {Set<AudioBufferSourceNode>} */
  #sources = new Set();
  /** When the next piece is due, by the clock of the context, in seconds; 0 before the first. */
  #next = 0;
  #heard = 0;
  #began = 0;
  #isComplete = false;

  /** @param {string} id of the prediction @param {number} seconds that the clip is likely to have */
  constructor(id, seconds) {
    super();
    this.id = id;
    this.seconds = seconds;
  }

  /** Whether it can be heard now. */
  get isPlaying() {
    return this.#began > 0 && !this.#ending.signal.aborted;
  }

  /** Where it is, in seconds. */
  get time() {
    return this.isPlaying ? Math.max(0, this.#heard - Math.max(0, this.#next - player.context.currentTime)) : 0;
  }

  /** Play it from the beginning; returns when all has arrived. @throws {import("../base/api.js").ApiError} */
  async play() {
    const { signal } = this.#ending;
    const response = await send(`predictions/${this.id}/audio`, { signal });
    if (!response.body || !response.headers.get("Content-Type")?.startsWith("audio/wav")) return;
    const speed = Number(response.headers.get("X-Real-Time-Factor") || Infinity);
    const wait = LEAD + (speed < RESERVE ? this.seconds * (RESERVE / speed - 1) : 0);
    const reader = response.body.getReader();
    let bytes = new Uint8Array();
    /** @type {ReturnType<typeof readHeader>} */
    let header = null;
    for (let part = await reader.read(); !part.done && !signal.aborted; part = await reader.read()) {
      bytes = joined(bytes, part.value);
      if (!header) {
        header = readHeader(bytes);
        if (!header) continue;
        bytes = bytes.slice(header.offset);
      }
      const frame = 2 * header.channels;
      const whole = bytes.length - (bytes.length % frame);
      if (whole) this.#schedule(bytes.slice(0, whole), header, wait);
      bytes = bytes.slice(whole);
    }
    this.#isComplete = true;
    if (!this.#sources.size) this.stop();
  }

  /** @param {Uint8Array} bytes @param {{channels: number, rate: number}} header @param {number} wait seconds before the first */
  #schedule(bytes, { channels, rate }, wait) {
    const { context } = player;
    const samples = new Int16Array(bytes.buffer, 0, bytes.length / 2);
    const buffer = new AudioBuffer({ length: samples.length / channels, numberOfChannels: channels, sampleRate: rate });
    for (let channel = 0; channel < channels; channel += 1) {
      buffer.getChannelData(channel).forEach((_, at, data) => {
        data[at] = samples[at * channels + channel] / 32_768;
      });
    }
    if (!this.#began) {
      player.pause();
      this.#next = context.currentTime + wait;
      this.#began = this.#next;
      this.dispatchEvent(new Event("begin"));
    }
    this.#next = Math.max(this.#next, context.currentTime + 0.02);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.start(this.#next);
    this.#next += buffer.duration;
    this.#heard += buffer.duration;
    this.#sources.add(source);
    source.onended = () => {
      this.#sources.delete(source);
      if (this.#isComplete && !this.#sources.size) this.stop();
    };
  }

  /** Be silent. */
  stop() {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    for (const source of this.#sources) source.stop();
    this.dispatchEvent(new Event("end"));
  }
}

/** @param {Uint8Array} first @param {Uint8Array} second */
function joined(first, second) {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
