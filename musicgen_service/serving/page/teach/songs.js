// @ts-check
/** The files to learn from: songs, archives, and texts beside songs. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import { el, iconButton } from "../base/dom.js";
import { bytes } from "../base/format.js";

/** The control of the files. */
export class Songs {
  /** @type {{file: File, upload?: {id: string, url: string, name: string}}[]} */
  #entries = [];

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
      const { id, url } = await api.upload(entry.file, entry.file.name);
      entry.upload = { id, url, name: decodeURIComponent(url.slice(url.lastIndexOf("/") + 1)) };
    }
    return this.#entries.map(({ upload }) => /** @type {any} */ (upload).url);
  }

  /** @param {string} song as the service names it @returns whether it was sent as a file, so that it can get a text */
  takesText(song) {
    return this.#entries.some(({ upload }) => upload?.name === song);
  }

  /** Describe a song, in the place of what described it before. @param {string} song @param {string} text */
  describe(song, text) {
    const name = song.replace(/\.\w+$/, ".txt");
    this.#entries = this.#entries.filter(({ file, upload }) => upload?.name !== name && file.name !== name);
    this.add([new File([text], name, { type: "text/plain" })]);
  }

  /** Remove what was sent from the service. */
  forget() {
    for (const entry of this.#entries) {
      if (entry.upload) api.removeUpload(entry.upload.id);
      delete entry.upload;
    }
  }
}
