// @ts-check
/** Fills the form from what was made before: a clip, or a file with its recipe. */
import { S, fill } from "../strings.js";
import { announce } from "../base/dom.js";
import { inputsOf, readRecipe } from "../clips/recipe.js";
import { clipFile } from "../clips/row.js";
import * as database from "../library/database.js";

/** @typedef {import("../library/database.js").Clip} Clip */
/** @typedef {import("./view.js").CreateView} CreateView */

/** Seconds that a clip is continued by. */
const MORE = 8;

/** @param {CreateView} view @param {{what: string, clip: Clip, end?: number}} use */
export async function useClip(view, { what, clip, end }) {
  location.hash = "create";
  const { form } = view;
  if (what === "again" || what === "another-seed") {
    const files = await database.filesOf(clip);
    const jobs = await view.jobs;
    if (what === "again") jobs.start(clip.inputs, files);
    else jobs.anotherSeed(clip.inputs, files);
    return;
  }
  const set = (/** @type {string} */ name, /** @type {any} */ value) => form.controls.get(name)?.set(value);
  view.select(view.tasks.includes(what) ? what : view.tasks[0]);
  form.clear();
  if (["continuation", "loop", "repaint"].includes(what)) set("prompt", clip.inputs.prompt);
  if (what === "continuation") set("duration", Math.ceil((end ?? clip.seconds) + MORE));
  if (what === "loop") {
    const tempo = clip.analysis?.tempo_bpm;
    if (tempo) set("bpm", Math.round(tempo));
    set("seed", clip.inputs.seed);
  } else {
    await form.audio?.take(clipFile(clip), end ? { end: Math.round(end * 100) / 100 } : {});
  }
  form.element.querySelector("textarea")?.focus();
}

/**
 * Fill the form with the recipe of a file that the service made.
 * @param {CreateView} view
 * @param {File} file
 * @returns {Promise<boolean>} whether it has one
 */
export async function restore(view, file) {
  const recipe = await readRecipe(file);
  if (!recipe) return false;
  const { form } = view;
  const inputs = inputsOf(recipe, view.fields);
  if (view.tasks.includes(inputs.task)) view.select(inputs.task);
  form.clear();
  form.set(inputs);
  location.hash = "create";
  const audio = recipe.input_audio ? await sourceOf(recipe) : null;
  if (audio) await form.audio?.take(audio, { start: inputs.continuation_start, end: inputs.continuation_end });
  const sentence = recipe.input_audio && !audio ? S.create.restoredWithoutAudio : S.create.restored;
  announce(fill(sentence, { name: file.name, audio: recipe.input_audio }));
  return true;
}

/** @param {Record<string, any>} recipe @returns {Promise<File | null>} the audio it was made from, when the library has it */
async function sourceOf(recipe) {
  for (const clip of await database.clips().catch(() => [])) {
    if (clip.inputs.seed !== recipe.seed || clip.inputs.task !== recipe.task) continue;
    const [file] = Object.values(await database.filesOf(clip));
    if (file && (await digest(file)) === recipe.input_audio_sha256) return file;
  }
  return null;
}

/** @param {Blob} blob @returns {Promise<string | null>} its SHA-256; null on plain http, where browsers have none */
async function digest(blob) {
  if (!crypto.subtle) return null;
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return [...bytes].map((value) => value.toString(16).padStart(2, "0")).join("");
}
