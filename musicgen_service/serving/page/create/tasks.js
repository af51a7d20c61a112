// @ts-check
/** What the form shows for each task. A task that is not here has every input, so a new one needs no line. */
import { S } from "../strings.js";
import { title } from "../base/format.js";

/**
 * @typedef {object} Task
 * @property {string[]} main inputs in the first rows, in their order
 * @property {string[]} needed inputs without which it cannot be done
 * @property {string[]} unused inputs that have no effect, and are not shown
 * @property {boolean} [streams] whether it can be heard while it is made
 */

const PART = ["continuation_start", "continuation_end"];
const REMIX = ["beat_sync_threshold", "chroma_coefficient"];
const LOOP = ["repeat"];
const CHORDS = ["text_chords", "audio_chords"];
const SAMPLING = ["top_k", "top_p", "temperature", "classifier_free_guidance"];

/** @type {Record<string, Task>} */
export const TASKS = {
  text: {
    main: ["prompt", "duration", "variations"],
    needed: ["prompt"],
    unused: ["input_audio", ...PART, ...REMIX, ...LOOP, ...CHORDS],
    streams: true,
  },
  chords: {
    main: ["text_chords", "bpm", "time_signature", "prompt", "duration", "variations"],
    needed: [],
    unused: ["input_audio", "beat_sync_threshold", ...LOOP],
    streams: true,
  },
  melody: {
    main: ["input_audio", ...PART, "prompt", "duration", "variations"],
    needed: ["input_audio"],
    unused: [...REMIX, ...LOOP, ...CHORDS],
    streams: true,
  },
  continuation: {
    main: ["input_audio", ...PART, "prompt", "duration", "variations"],
    needed: ["input_audio"],
    unused: ["beat_sync_threshold", ...LOOP],
    streams: true,
  },
  loop: {
    main: ["prompt", "bpm", "duration", "repeat", "variations"],
    needed: ["prompt"],
    unused: ["input_audio", "sections", "trim_to_bars", "beat_sync_threshold", ...PART],
  },
  remix: {
    main: ["input_audio", ...PART, "prompt", "variations", "return_stems"],
    needed: ["input_audio"],
    unused: ["duration", "sections", "time_signature", ...LOOP, ...CHORDS],
  },
  repaint: {
    main: ["input_audio", ...PART, "prompt", "variations"],
    needed: ["input_audio"],
    unused: ["duration", "sections", "normalization_strategy", "time_signature", ...REMIX, ...LOOP, ...CHORDS],
  },
  "encode-decode": {
    main: ["input_audio", ...PART],
    needed: ["input_audio"],
    unused: ["prompt", "negative_prompt", "adapter", "sections", "duration", "bpm", "return_stems", "variations", "seed", "time_signature", ...SAMPLING, ...REMIX, ...LOOP, ...CHORDS],
  },
};

/** Inputs of a predictor without tasks that come first. */
const FIRST = /^(prompt|description|text|lyrics|music_input|input_audio|audio|melody|duration|bpm)$|_a$|^prompt/;

/** Inputs that the tab decides. */
const DECIDED = new Set(["task", "continuation"]);

/**
 * @param {Map<string, import("../base/schema.js").Field>} fields
 * @returns {string[]} the tasks that the service offers; one empty name when its predictor has none
 */
export function tasksOf(fields) {
  const offered = fields.get("task")?.choices.filter((name) => name !== "auto") ?? [];
  return offered.length ? offered : [""];
}

/** @param {string} name of a task @returns {{name: string, heading: string, help: string}} its texts */
export function taskTexts(name) {
  const texts = /** @type {Record<string, any>} */ (S.tasks);
  return texts[name] ?? { name: title(name), heading: name ? title(name) : S.create.heading, help: "" };
}

/**
 * @param {string} task
 * @param {Map<string, import("../base/schema.js").Field>} fields
 * @returns {{main: string[], advanced: string[], needed: string[]}} names of inputs to show
 */
export function layout(task, fields) {
  const known = TASKS[task];
  const usable = [...fields.keys()].filter((name) => !(task && DECIDED.has(name)) && !known?.unused.includes(name));
  const isMain = (/** @type {string} */ name) =>
    known ? known.main.includes(name) : FIRST.test(name) || Boolean(fields.get(name)?.required);
  const main = usable.filter(isMain);
  if (known) main.sort((a, b) => known.main.indexOf(a) - known.main.indexOf(b));
  const required = [...fields.values()].filter((field) => field.required).map((field) => field.name);
  return {
    main: main.length ? main : usable.slice(0, 3),
    advanced: usable.filter((name) => !main.includes(name)),
    needed: known ? known.needed.filter((name) => fields.has(name)) : required,
  };
}
