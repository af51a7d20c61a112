// @ts-check
/** Packs clips into a zip file, with their requests beside them. */
import { downloadZip } from "../vendor/client-zip/index.js";

/** @param {import("./database.js").Clip[]} clips @returns {Promise<Blob>} */
export function pack(clips) {
  const used = new Set();
  const files = clips.flatMap((clip) => {
    const { name } = clip;
    const [stem, extension] = [name.replace(/\.\w+$/, ""), name.split(".").pop()];
    let unique = stem;
    for (let number = 2; used.has(unique); number += 1) unique = `${stem}-${number}`;
    used.add(unique);
    const lastModified = new Date(clip.created);
    const settings = JSON.stringify({ inputs: clip.inputs, favourite: clip.favourite, analysis: clip.analysis ?? null }, null, 2);
    return [
      { name: `${unique}.${extension}`, lastModified, input: clip.blob },
      { name: `${unique}.json`, lastModified, input: settings },
      ...(clip.midi ? [{ name: `${unique}.mid`, lastModified, input: clip.midi }] : []),
    ];
  });
  return downloadZip(files).blob();
}
