// @ts-check
/** One request to the service, from sending it to its clips. Dispatches `change` whenever its state does. */
import { S, fill } from "../strings.js";
import * as api from "../base/api.js";
import * as database from "../library/database.js";
import { fetchClips } from "../clips/outputs.js";

/** Milliseconds between two questions to the service; less often for what takes long. */
const INTERVALS = { first: 200, most: 1_500, hidden: 3_000 };
/** Milliseconds after which a service that cannot be reached is tried again. */
const OFFLINE = 2_000;

/** What is before the sentences of an error. */
const PREFIX = /^Prediction failed: (?:Invalid request: |Service error: )?/;

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A request of this page. */
export class Job extends EventTarget {
  /** @type {"sending" | "starting" | "processing" | "saving" | "succeeded" | "failed" | "canceled" | "lost"} */
  state = "sending";
  progress = 0;
  /** @type {{position: number, eta_seconds: number | null} | null} */
  queue = null;
  /** Why it cannot go on at the moment, as a sentence. */
  hindrance = "";
  /** @type {api.ApiError | Error | null} */
  error = null;
  /** @type {any} */
  metrics = {};
  /** @type {database.Clip[]} */
  clips = [];
  /** When the service began with it, by this browser's clock, in milliseconds. */
  began = 0;
  #cancelled = false;
  /** @type {string[]} ids of the files that were sent for it */
  #uploads = [];
  /** When it is likely to be done, by the same clock, as its latest progress says. */
  #ready = 0;

  /**
   * @param {database.Request} request
   * @param {Map<string, import("../base/schema.js").Field>} fields of the service
   */
  constructor(request, fields) {
    super();
    this.request = request;
    this.fields = fields;
  }

  get id() {
    return this.request.id;
  }

  get hasEnded() {
    return ["succeeded", "failed", "canceled", "lost"].includes(this.state);
  }

  /** Seconds until it is done, as far as is known. */
  get secondsLeft() {
    if (this.queue) return this.queue.eta_seconds;
    return this.#ready ? Math.max(1, Math.ceil((this.#ready - performance.now()) / 1000)) : null;
  }

  /** @param {Partial<Job>} changes */
  #update(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }

  /** Send it and follow it to its end; never rejects. */
  async run() {
    await this.#keep(() => database.saveRequest(this.request));
    await this.#end(async () => {
      await this.#send();
      await this.#follow();
    });
  }

  /** Follow one that was sent before the page was loaded again. */
  async resume() {
    this.state = "starting";
    await this.#end(() => this.#follow());
  }

  /** @param {() => Promise<void>} work */
  async #end(work) {
    try {
      await work();
    } catch (error) {
      const isLost = error instanceof api.ApiError && error.status === 404;
      if (!this.hasEnded) this.#update({ state: isLost ? "lost" : "failed", error: /** @type {Error} */ (error) });
    }
    this.hindrance = "";
    this.request.ended = true;
    for (const id of this.#uploads) api.removeUpload(id);
    await this.#keep(() => (this.clips.length ? database.saveRequest(this.request) : database.removeRequest(this.id)));
    this.#update({});
  }

  /** @param {() => Promise<void>} work @returns whether the browser had room for it */
  async #keep(work) {
    try {
      await work();
      return true;
    } catch {
      return false;
    }
  }

  async #send() {
    const inputs = { ...this.request.inputs };
    await this.#persist(async () => {
      if (this.#cancelled) return this.#update({ state: "canceled" });
      for (const [name, file] of Object.entries(this.request.files)) {
        if (name in inputs) continue;
        const { id, url } = await api.upload(file, file.name);
        this.#uploads.push(id);
        inputs[name] = url;
      }
      await api.predict(this.id, inputs);
      if (this.state === "sending") this.#update({ state: "starting" });
      this.dispatchEvent(new Event("accepted"));
    });
  }

  async #follow() {
    let interval = INTERVALS.first;
    while (!this.hasEnded) {
      if (this.#cancelled) await this.#cancelNow();
      const job = await this.#persist(() => api.prediction(this.id));
      if (job.status === "processing" && !this.began) this.began = performance.now();
      if (this.began && job.progress > this.progress) {
        const now = performance.now();
        this.#ready = now + ((now - this.began) / job.progress) * (1 - job.progress);
      }
      this.#update({ progress: job.progress, queue: job.queue ?? null, metrics: job.metrics });
      if (job.status === "succeeded") return this.#collect(job);
      if (job.status === "failed") return this.#update({ state: "failed", error: new Error(String(job.error).replace(PREFIX, "")) });
      this.#update({ state: job.status });
      if (this.hasEnded) return;
      await pause(document.hidden ? INTERVALS.hidden : interval);
      interval = Math.min(interval * 1.1, INTERVALS.most);
    }
  }

  /** @param {any} job */
  async #collect(job) {
    this.#update({ state: "saving", progress: 1 });
    const clips = await this.#persist(() => fetchClips(this.request, job, this.fields));
    this.notKept = [];
    for (const clip of clips) {
      if (!(await this.#keep(() => database.saveClip(clip)))) this.notKept.push(clip.name);
    }
    this.#update({ state: "succeeded", clips });
  }

  /**
   * Try again for as long as the service is full, starts, or cannot be reached.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #persist(work) {
    for (;;) {
      try {
        const result = await work();
        if (this.hindrance) this.#update({ hindrance: "" });
        return result;
      } catch (error) {
        if (!(error instanceof api.ApiError) || ![0, 429, 502, 503].includes(error.status)) throw error;
        if (this.#cancelled && this.state === "sending") {
          this.#update({ state: "canceled" });
          throw error;
        }
        const seconds = error.retryAfter || OFFLINE / 1000;
        const hindrance = error.status ? fill(S.errors.tooMany, { sentence: error.message, seconds }) : S.jobs.offline;
        this.#update({ hindrance });
        await pause(seconds * 1000);
      }
    }
  }

  /** End it. */
  async cancel() {
    this.#cancelled = true;
    if (this.state !== "sending") await this.#cancelNow();
  }

  async #cancelNow() {
    try {
      await api.cancel(this.id);
    } catch {
      // It has ended, or the service cannot be reached; the next question tells.
    }
  }
}

/**
 * @param {Record<string, any>} inputs
 * @param {Record<string, File>} files
 * @param {Map<string, import("../base/schema.js").Field>} fields
 */
export function newJob(inputs, files, fields) {
  return new Job({ id: api.newId(), inputs, files, created: Date.now(), ended: false }, fields);
}
