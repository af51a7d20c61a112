// @ts-check
/** The files to learn from: songs, archives, texts beside songs, and captions that were written here. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el, iconButton } from "../base/dom.js";
import { bytes } from "../base/format.js";
import { downloadZip } from "../vendor/client-zip/index.js";

/** @typedef {{id: string, url: string}} Upload */

/** The control of the files. */
export class Songs {
  /** @type {{file: File, upload?: Upload}[]} */
  #entries = [];
  /** @type {Map<string, string>} by the names of songs, in the place of what described them before */
  #captions = new Map();
  /** @type {Upload | null} the captions, if they have been sent */
  #sentCaptions = null;

  /** @param {() => void} changed called when there are others */
  constructor(changed) {
    this.changed = changed;
    this.list = el("ul", { class: "song-files" });
    const picker = el("input", { type: "file", multiple: true, class: "visually-hidden", tabindex: "-1", "aria-label": S.teach.songs });
    picker.addEventListener("change", () => this.add(picker.files));
    const choose = el("button", { class: "button", on: { click: () => picker.click() } }, S.teach.choose);
    this.element = el("div", { class: "audio-input" }, picker, el("p", { class: "audio-drop" }, S.teach.drop), choose, this.list);
    this.element.addEventListener("dragover", (/** @type {Event} */ event) => event.preventDefault());
    this.element.addEventListener("drop", (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      event.stopPropagation();
      this.add(event.dataTransfer?.files ?? []);
    });
  }

  get count() {
    return this.#entries.length;
  }

  /** @param {Iterable<File>} files */
  add(files) {
    this.#entries.push(...[...files].map((file) => ({ file })));
    this.#show();
  }

  #show() {
    const remove = (/** @type {any} */ entry) => {
      if (entry.upload) api.removeUpload(entry.upload.id);
      this.#entries = this.#entries.filter((other) => other !== entry);
      this.#forgetCaptions();
      this.#show();
    };
    const row = (/** @type {any} */ entry) => {
      const { name, size } = entry.file;
      return el("li", { class: "audio-head" }, el("span", { class: "audio-name" }, name), el("span", { class: "muted" }, bytes(size)), iconButton("close", fill(S.teach.remove, { name }), () => remove(entry)));
    };
    this.list.replaceChildren(...this.#entries.map(row));
    this.changed();
  }

  /**
   * Send what has not been sent.
   * @param {(name: string) => void} report called with the name of each file
   * @returns {Promise<string[]>} the addresses of all
   */
  async send(report) {
    for (const entry of this.#entries) {
      if (entry.upload) continue;
      report(entry.file.name);
      entry.upload = await api.upload(entry.file, entry.file.name);
    }
    const sent = this.#entries.map(({ upload }) => /** @type {Upload} */ (upload).url);
    if (!this.#captions.size) return sent;
    const texts = [...this.#captions].map(([song, text]) => ({ name: `${song}.txt`, input: text }));
    this.#sentCaptions ??= await api.upload(await downloadZip(texts).blob(), "captions.zip");
    return [...sent, this.#sentCaptions.url];
  }

  /** Describe songs anew. @param {Iterable<[string, string]>} captions by the names that the service has for songs */
  describe(captions) {
    const all = [...this.#captions, ...captions];
    this.#forgetCaptions();
    this.#captions = new Map(all);
  }

  /** Remove what was sent from the service. */
  forget() {
    for (const entry of this.#entries) {
      if (entry.upload) api.removeUpload(entry.upload.id);
      delete entry.upload;
    }
    this.#forgetCaptions();
  }

  #forgetCaptions() {
    if (this.#sentCaptions) api.removeUpload(this.#sentCaptions.id);
    this.#sentCaptions = null;
    this.#captions = new Map();
  }
}
