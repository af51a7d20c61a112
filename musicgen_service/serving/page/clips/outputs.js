// @ts-check
/** Turns what a prediction returns into clips. */
import { download, fileAddress } from "../base/api.js";
import { decode, peaksOf } from "./peaks.js";
import { inputsOf, readRecipe } from "./recipe.js";

/** @typedef {import("../library/database.js").Clip} Clip */

/** The end of the service's file names, after the seed: the number of the variation, and the stem. */
const LABELLED = /_s\d+(?:_(\d+))?(?:_([a-z]+))?\.\w+$/;

/**
 * The addresses in an output, with the name of each in an output that is an object.
 * @param {any} output
 * @returns {{name: string, url: string}[]}
 */
export function addressesIn(output) {
  if (typeof output === "string") return [{ name: "", url: output }];
  if (Array.isArray(output)) return output.flatMap(addressesIn);
  return Object.entries(output ?? {}).flatMap(([name, value]) => addressesIn(value).map(({ url }) => ({ name, url })));
}

/**
 * Fetch the files of a prediction.
 * @param {import("../library/database.js").Request} request
 * @param {{output: any, metrics: any}} result
 * @param {Map<string, import("../base/schema.js").Field>} fields of the service
 * @returns {Promise<Clip[]>}
 */
export async function fetchClips(request, { output, metrics }, fields) {
  const found = addressesIn(output);
  const blobs = await Promise.all(found.map(({ url }) => download(url)));
  /** @type {Clip[]} */
  const clips = [];
  for (const [index, blob] of blobs.entries()) {
    const { name, url } = found[index];
    if (/midi?$/.test(blob.type)) {
      const last = clips.at(-1);
      if (last) last.midi = blob;
      continue;
    }
    const count = clips.length;
    const fileName = decodeURIComponent(url.slice(url.lastIndexOf("/") + 1));
    const [, number = 1, stem = ""] = LABELLED.exec(fileName) ?? [undefined, count + 1];
    const recipe = await readRecipe(blob);
    const seed = metrics?.seeds?.[count] ?? metrics?.seed;
    const asked = withoutNone({ ...request.inputs, seed });
    const sound = await decode(blob);
    clips.push({
      id: `${request.id}-${count + 1}`,
      request: request.id,
      number: Number(number),
      part: name || stem,
      name: fileName,
      blob,
      url: fileAddress(url),
      inputs: recipe && fields.has("task") ? { ...inputsOf(recipe, fields), ...onlyOf(asked, recipe) } : asked,
      source: Object.values(request.files).map((file) => file.name).join(", "),
      created: request.created + count,
      seconds: sound.duration,
      peaks: peaksOf(sound),
      favourite: false,
      sections: sectionsIn(recipe),
    });
  }
  return clips;
}

/** @param {Record<string, any> | null} recipe @returns {Clip["sections"]} */
function sectionsIn(recipe) {
  const times = /** @type {[string, number, number][] | undefined} */ (recipe?.section_times);
  return times?.map(([name, start, end]) => ({ name, start, end }));
}

/** @param {Record<string, any>} values */
function withoutNone(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
}

/** @param {Record<string, any>} asked @param {Record<string, any>} recipe @returns what the recipe does not say */
function onlyOf(asked, recipe) {
  return Object.fromEntries(Object.entries(asked).filter(([name]) => !(name in recipe)));
}
