// @ts-check
/** Decodes audio files, and reduces sound to what a waveform shows. */

/** Samples per second of everything that is played: that of the clips, so that a loop is repeated to the sample. */
export const RATE = 32_000;
const COLUMNS = 1_000;
const KEPT = 8;

/** @type {Map<Blob, Promise<AudioBuffer>>} the files decoded last; a long one takes 128 kB a second */
const decoded = new Map();

/**
 * @param {Blob} blob
 * @returns {Promise<AudioBuffer>}
 */
export function decode(blob) {
  const known = decoded.get(blob);
  decoded.delete(blob);
  const sound = known ?? decodeAnew(blob);
  decoded.set(blob, sound);
  sound.catch(() => decoded.delete(blob));
  for (const oldest of [...decoded.keys()].slice(0, -KEPT)) decoded.delete(oldest);
  return sound;
}

/** @param {Blob} blob */
async function decodeAnew(blob) {
  // This kind of context needs no press of a button before it may be used.
  return new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
}

/**
 * @param {AudioBuffer} sound
 * @returns {number[]} the largest magnitude in each column, 0 to 1
 */
export function peaksOf(sound) {
  const count = Math.min(COLUMNS, sound.length);
  const channels = Array.from({ length: sound.numberOfChannels }, (_, index) => sound.getChannelData(index));
  return Array.from({ length: count }, (_, column) => {
    const first = Math.floor((column * sound.length) / count);
    const last = Math.floor(((column + 1) * sound.length) / count);
    let peak = 0;
    for (const samples of channels) {
      for (let at = first; at < last; at += 1) peak = Math.max(peak, Math.abs(samples[at]));
    }
    return Math.round(peak * 1000) / 1000;
  });
}
