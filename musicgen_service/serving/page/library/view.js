// @ts-check
/** Everything that was made in this browser: searched, sorted out, taken along. */
import { S, fill } from "../strings.js";
import { announce, el, uniqueId } from "../base/dom.js";
import { bytes, shorten } from "../base/format.js";
import { Row, clipName, saveFile } from "../clips/row.js";
import * as database from "./database.js";
import { pack } from "./export.js";

/** @typedef {import("./database.js").Clip} Clip */

const PAGE = 20;

/** The library. */
export class LibraryView {
  /** @type {Row[]} */
  #rows = [];
  /** @type {Clip[]} */
  #clips = [];
  #shown = PAGE;

  /** @param {HTMLElement} element */
  constructor(element) {
    const id = uniqueId("search");
    this.search = el("input", { type: "search", id, placeholder: S.library.search, on: { input: () => this.#restart() } });
    this.favourites = el("button", { class: "chip", "aria-pressed": "false", on: { click: () => this.#toggleFavourites() } }, S.library.favourites);
    this.exportButton = el("button", { class: "button", on: { click: () => this.#export() } }, S.library.exportAll);
    this.count = el("p", { class: "muted", role: "status" });
    this.tools = el("div", { class: "tools" }, el("label", { class: "visually-hidden", for: id }, S.library.search), this.search, this.favourites, this.exportButton);
    this.list = el("div", { class: "clips" });
    this.more = el("button", { class: "button", on: { click: () => this.#showMore() } }, S.library.more);
    element.replaceChildren(el("div", { class: "view" }, el("h1", {}, S.nav.library), el("p", { class: "lead" }, S.library.help), this.tools, this.count, this.list, this.more));
  }

  /** Read the clips anew, and show them. */
  async show() {
    try {
      this.#clips = await database.clips();
    } catch {
      this.tools.hidden = true;
      this.more.hidden = true;
      this.count.textContent = S.library.unavailable;
      return;
    }
    this.#restart();
  }

  get #found() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const onlyFavourites = this.favourites.getAttribute("aria-pressed") === "true";
    return this.#clips.filter((clip) => {
      const text = [...Object.values(clip.inputs), clip.part, clip.analysis?.key].join(" ").toLowerCase();
      return (!onlyFavourites || clip.favourite) && words.every((word) => text.includes(word));
    });
  }

  #restart() {
    this.#shown = PAGE;
    this.#draw();
  }

  #showMore() {
    this.#shown += PAGE;
    this.#draw();
  }

  #toggleFavourites() {
    const isPressed = this.favourites.getAttribute("aria-pressed") === "true";
    this.favourites.setAttribute("aria-pressed", String(!isPressed));
    this.#restart();
  }

  #draw() {
    const found = this.#found;
    this.hide();
    this.#rows = found.slice(0, this.#shown).map((clip) => {
      return new Row(clip, { heading: clipName(clip), onRemove: () => this.#remove(clip) });
    });
    this.list.replaceChildren(...this.#rows.map((row) => row.element));
    if (!found.length) this.list.append(this.#emptyNote());
    this.more.hidden = found.length <= this.#shown;
    this.tools.hidden = !this.#clips.length;
    const size = found.reduce((sum, clip) => sum + clip.blob.size, 0);
    this.count.textContent = found.length ? fill(S.library.count, { count: found.length, size: bytes(size) }) : "";
  }

  #emptyNote() {
    if (this.#clips.length) return el("p", { class: "empty" }, S.library.nothing);
    const link = el("a", { class: "button primary", href: "#create" }, S.library.toCreate);
    return el("div", { class: "empty" }, el("p", { class: "empty-title" }, S.library.empty), el("p", {}, S.library.emptyHelp), link);
  }

  async #export() {
    const found = this.#found;
    const note = announce(fill(S.library.exporting, { count: found.length }));
    saveFile(await pack(found), "musicgen-clips.zip");
    note.remove();
  }

  /** @param {Clip} clip */
  async #remove(clip) {
    const request = await database.request(clip.request);
    await database.removeClip(clip);
    const undo = async () => {
      if (request) await database.saveRequest(request);
      await database.saveClip(clip);
      note.remove();
      await this.show();
    };
    const button = el("button", { class: "text-button", on: { click: undo } }, S.library.undo);
    const note = announce(fill(S.library.deleted, { name: shorten(clipName(clip), 40) }), button);
    await this.show();
  }

  /** Take the rows from the page. */
  hide() {
    for (const row of this.#rows) row.destroy();
    this.#rows = [];
  }
}
