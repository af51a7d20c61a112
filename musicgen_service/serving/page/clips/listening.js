// @ts-check
/** Has the service listen to clips, one after the other, when nothing is being made. */
import * as api from "../base/api.js";
import * as database from "../library/database.js";

/** @typedef {import("../library/database.js").Clip} Clip */

/** @type {{clip: Clip, done: (analysis: any) => void}[]} */
const waiting = [];
let isRunning = false;
let isPossible = true;
let busy = 0;

/** @param {boolean} isBusy whether the service has begun, or ended, to make something for this page */
export function setBusy(isBusy) {
  busy += isBusy ? 1 : -1;
  if (!busy) work();
}

/**
 * @param {Clip} clip
 * @returns {Promise<any>} tempo, key, loudness and more; null where the service cannot tell
 */
export function listen(clip) {
  if (clip.analysis || !isPossible) return Promise.resolve(clip.analysis ?? null);
  return new Promise((done) => {
    waiting.push({ clip, done });
    if (!busy) work();
  });
}

async function work() {
  if (isRunning) return;
  isRunning = true;
  for (let next = waiting.shift(); next; next = busy ? undefined : waiting.shift()) {
    const { clip, done } = next;
    try {
      clip.analysis ??= await api.analyse(clip.blob, clip.name);
      done(clip.analysis);
      // A clip that was deleted meanwhile stays deleted.
      if ((await database.clips()).some(({ id }) => id === clip.id)) await database.saveClip(clip);
    } catch (error) {
      if (error instanceof api.ApiError && [404, 405].includes(error.status)) isPossible = false;
      done(clip.analysis ?? null);
    }
  }
  isRunning = false;
}
