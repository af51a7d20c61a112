// @ts-check
/** The requests of this page: started, followed, asked for again. */
import { setBusy } from "../clips/listening.js";
import * as database from "../library/database.js";
import { Card } from "./card.js";
import { Job, newJob } from "./job.js";

/** A list of cards, the newest first. */
export class JobList {
  /**
   * @param {HTMLElement} element of the list
   * @param {Map<string, import("../base/schema.js").Field>} fields of the service
   * @param {{playsAtOnce: () => boolean, changed: () => void, refused: (inputs: Record<string, any>, error: any) => void}} form
   */
  constructor(element, fields, form) {
    this.element = element;
    this.fields = fields;
    this.form = form;
    element.addEventListener("dismiss", () => setTimeout(form.changed));
  }

  /** @param {Record<string, any>} inputs @param {Record<string, File>} files by name of the input */
  start(inputs, files) {
    return this.#follow(newJob(inputs, files, this.fields));
  }

  /** Ask once more. @param {Record<string, any>} inputs @param {Record<string, File>} files */
  anotherSeed({ seed, ...inputs }, files) {
    return this.start(inputs, files);
  }

  /** Follow what was asked for before the page was loaded again. */
  async resume() {
    try {
      for (const request of await database.unfinishedRequests()) this.#follow(new Job(request, this.fields), true);
    } catch {
      // The browser keeps nothing for this page.
    }
  }

  /** @param {Job} job @param {boolean} [isKnown] whether the service has it already */
  async #follow(job, isKnown = false) {
    const { inputs, files } = job.request;
    const card = new Card(job, { retry: () => this.start(inputs, files), anotherSeed: () => this.anotherSeed(inputs, files) });
    job.addEventListener("accepted", () => card.listen(this.form.playsAtOnce()));
    this.element.prepend(card.element);
    if (!isKnown) card.element.scrollIntoView({ block: "nearest" });
    this.form.changed();
    setBusy(true);
    await (isKnown ? job.resume() : job.run());
    setBusy(false);
    if (job.state === "failed" && job.error) this.form.refused(inputs, job.error);
  }
}
