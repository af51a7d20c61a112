// @ts-check
/** Reads the recipe in a file: the inputs with which the service made it, which are in the comment of its tags. */

const MARK = '{"musicgen_service":';
const TAGS = 2 ** 20;
/* Bytes at the beginning of a file that hold its tags: the longest recipe has 40 kB. */

/**
 * The first JSON object of a text that begins where the mark is.
 * @param {string} text
 */
function objectIn(text) {
  const rest = text.slice(text.indexOf(MARK));
  if (!rest.startsWith(MARK)) return null;
  let depth = 0;
  // Strings are matched whole, so that braces in them do not count.
  for (const { 0: token, index } of rest.matchAll(/"(?:\\.|[^"\\])*"|[{}]/gs)) {
    if (token === "{") depth += 1;
    if (token !== "}" || --depth) continue;
    try {
      return JSON.parse(rest.slice(0, index + 1));
    } catch {
      return null;
    }
  }
  return null;
}

/**
 * @param {Blob} file wav, mp3, flac or ogg
 * @returns {Promise<Record<string, any> | null>} the inputs, and `musicgen_service`, the version; null when there are none
 */
export async function readRecipe(file) {
  const content = await file.slice(0, TAGS).arrayBuffer();
  // wav, flac and ogg have it in UTF-8; an mp3 in that or in UTF-16, by its characters.
  for (const [encoding, bytes] of Object.entries({ "utf-8": 1, "utf-16le": 2, "utf-16be": 2 })) {
    for (let offset = 0; offset < bytes; offset += 1) {
      const recipe = objectIn(new TextDecoder(encoding).decode(new Uint8Array(content, offset)));
      if (recipe) return recipe;
    }
  }
  return null;
}

/**
 * The inputs of a recipe that can be asked for again; what is at its default, and the files, are left out.
 * @param {Record<string, any>} recipe
 * @param {Map<string, import("../base/schema.js").Field>} fields of the service
 */
export function inputsOf(recipe, fields) {
  const isTold = (/** @type {string} */ name, /** @type {any} */ value) => {
    const field = fields.get(name);
    // The task says what `continuation` does.
    return field && field.kind !== "file" && value !== null && value !== field.default && !(name === "continuation" && recipe.task);
  };
  return Object.fromEntries(Object.entries(recipe).filter(([name, value]) => isTold(name, value)));
}
