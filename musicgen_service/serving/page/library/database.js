// @ts-check
/** What the page keeps in this browser: requests with the audio they were made from, and clips with their sound. */
import "../vendor/idb/umd.js";

// This build of the library is a third of the size of the one with exports, and sets a global name.
const { openDB } = /** @type {any} */ (globalThis).idb;

/**
 * @typedef {object} Request
 * @property {string} id
 * @property {Record<string, any>} inputs without files
 * @property {Record<string, File>} files by name of the input
 * @property {number} created milliseconds since the epoch
 * @property {boolean} ended
 */

/**
 * @typedef {object} Clip
 * @property {string} id
 * @property {string} request id of its request
 * @property {number} number among the variations of its request, from 1
 * @property {string} part the stem that it is, or ""
 * @property {string} name of the file
 * @property {Blob} blob
 * @property {Blob} [midi]
 * @property {string} url at the service, as long as it keeps it
 * @property {Record<string, any>} inputs that make it again, without files
 * @property {string} source name of the audio it was made from, or ""
 * @property {number} created
 * @property {number} seconds
 * @property {number[]} peaks
 * @property {boolean} favourite
 * @property {any} [analysis]
 * @property {{name: string, start: number, end: number}[]} [sections] in seconds
 */

const NAME = "musicgen";
const LISTED = 100_000;

/** @type {Promise<any> | null} */
let opened = null;

function open() {
  opened ??= openDB(NAME, 1, {
    upgrade(database) {
      database.createObjectStore("requests", { keyPath: "id" });
      database.createObjectStore("clips", { keyPath: "id" }).createIndex("created", "created");
    },
  });
  return opened;
}

/** Whether the browser lets the page keep anything. */
export async function isAvailable() {
  try {
    await open();
    return true;
  } catch {
    return false;
  }
}

/** @param {Request} request */
export const saveRequest = async (request) => void (await (await open()).put("requests", request));

/** @param {string} id @returns {Promise<Request | undefined>} */
export const request = async (id) => (await open()).get("requests", id);

/** @returns {Promise<Request[]>} those whose end has not been seen, the oldest first */
export async function unfinishedRequests() {
  const all = await (await open()).getAll("requests");
  return all.filter((/** @type {Request} */ { ended }) => !ended).sort((/** @type {Request} */ a, /** @type {Request} */ b) => a.created - b.created);
}

/** @param {string} id */
export const removeRequest = async (id) => void (await (await open()).delete("requests", id));

/** @param {Clip} clip */
export const saveClip = async (clip) => void (await (await open()).put("clips", clip));

/** @returns {Promise<Clip[]>} the newest first */
export async function clips() {
  const all = await (await open()).getAllFromIndex("clips", "created", null, LISTED);
  return all.reverse();
}

/** Remove a clip, and its request with the last of its clips. @param {Clip} clip */
export async function removeClip(clip) {
  const database = await open();
  await database.delete("clips", clip.id);
  const others = await database.getAll("clips");
  if (!others.some((/** @type {Clip} */ other) => other.request === clip.request)) await database.delete("requests", clip.request);
}

/** @param {Clip} clip @returns {Promise<Record<string, File>>} the audio it was made from */
export async function filesOf(clip) {
  try {
    return (await request(clip.request))?.files ?? {};
  } catch {
    return {};
  }
}
