// @ts-check
/** The service's public HTTP interface, relative to the address of this page, so that any path before it works. */
import { S, fill } from "../strings.js";

const BASE = new URL(".", document.baseURI);
const KEY = "musicgen-key";

/** @param {string} path relative to the service's root */
export function address(path) {
  return new URL(path.replace(/^\//, ""), BASE).href;
}

/**
 * A result's address as this page reaches it: a proxy before the service may have another name and a path.
 * @param {string} url as the service gives it
 */
export function fileAddress(url) {
  const [, path] = /.*(\/(?:files|v1\/trainings)\/.*)/.exec(url) ?? [];
  return path ? address(path) : url;
}

/** An answer that is no success; the message is a sentence. */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 when there was no answer
   * @param {string} sentence
   * @param {{loc: string[], msg: string}[]} [detail] what is wrong where
   * @param {number} [retryAfter] seconds
   */
  constructor(status, sentence, detail = [], retryAfter = 0) {
    super(sentence);
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }
}

/** @type {() => Promise<string | null>} asks the user for a key; set by `key.js` */
let askForKey = async () => null;

/** @param {() => Promise<string | null>} ask */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The key of the API, where one was given. */
export function key() {
  return sessionStorage.getItem(KEY);
}

/**
 * Send a request; asks for a key when the service wants one.
 * @param {string} path
 * @param {{method?: string, json?: unknown, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>} a success
 * @throws {ApiError}
 */
export async function send(path, { method = "GET", json, body, headers = {}, signal } = {}) {
  for (;;) {
    const used = key();
    const all = { ...headers, ...(used ? { Authorization: `Bearer ${used}` } : {}) };
    if (json !== undefined) {
      body = JSON.stringify(json);
      all["Content-Type"] = "application/json";
    }
    /** @type {Response} */
    let response;
    try {
      response = await fetch(address(path), { method, body, headers: all, signal, cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, S.errors.unreachable);
    }
    // Another request may have asked for a key meanwhile.
    if (response.status === 401 && key() !== used) continue;
    if (response.status === 401) {
      const given = await askForKey();
      if (given === null) throw await readError(response);
      sessionStorage.setItem(KEY, given);
      continue;
    }
    if (!response.ok) throw await readError(response);
    return response;
  }
}

/** @param {Response} response */
async function readError(response) {
  /** @type {any} */
  let content = {};
  try {
    content = await response.json();
  } catch {
    // A proxy may answer with HTML.
  }
  const sentence = String(content.error ?? content.detail ?? fill(S.errors.unexpected, { status: response.status }));
  const detail = Array.isArray(content.detail) ? content.detail : [];
  return new ApiError(response.status, sentence, detail, Number(response.headers.get("Retry-After") ?? 0));
}

/** @param {string} path @param {Parameters<typeof send>[1]} [options] @returns {Promise<any>} */
async function read(path, options) {
  return (await send(path, options)).json();
}

/** The schema of requests. */
export const schema = () => read("openapi.json");

/** What models there are. */
export const models = () => read("models");

/** @param {string} id @param {object} inputs @param {AbortSignal} [signal] */
export const predict = (id, inputs, signal) =>
  read(`predictions/${id}`, { method: "PUT", json: { input: inputs }, headers: { Prefer: "respond-async" }, signal });

/** @param {string} route `chords` or `sections` @param {object} inputs @param {AbortSignal} signal @returns how these are read */
export const readText = (route, inputs, signal) => read(route, { method: "POST", json: { input: inputs }, signal });

/** @param {string} id */
export const prediction = (id) => read(`predictions/${id}`);

/** @param {string} id */
export const cancel = (id) => send(`predictions/${id}/cancel`, { method: "POST" });

/** @param {object} body @returns {Promise<any>} the training that was begun */
export const train = (body) => read("v1/trainings", { method: "POST", json: body });

/** The trainings of this client. */
export const trainings = () => read("v1/trainings");

/** @param {string} id */
export const training = (id) => read(`v1/trainings/${id}`);

/** @param {string} id */
export const cancelTraining = (id) => send(`v1/trainings/${id}/cancel`, { method: "POST" });

/** @param {Blob} file @param {string} name @param {AbortSignal} [signal] @returns what is heard in it */
export async function analyse(file, name, signal) {
  const { id, url } = await upload(file, name, signal);
  try {
    return await read("analyse", { method: "POST", json: { input: { input_audio: url } }, signal });
  } finally {
    removeUpload(id);
  }
}

/** @param {string} url of a file of a result @param {string} [format] to convert it to */
export async function download(url, format) {
  const target = fileAddress(url) + (format ? `?format=${format}` : "");
  const response = await send(target.startsWith(BASE.href) ? target.slice(BASE.href.length) : target);
  return response.blob();
}

/** @returns an id for a prediction; `crypto.randomUUID` is not there on plain http */
export function newId() {
  const numbers = crypto.getRandomValues(new Uint8Array(12));
  return `page-${[...numbers].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * Send a file to the service, where it can be an input.
 * @param {Blob} file
 * @param {string} name
 * @param {AbortSignal} [signal]
 * @returns {Promise<{id: string, url: string}>} its address
 */
export async function upload(file, name, signal) {
  const body = new FormData();
  body.append("content", file, name);
  const { id, urls } = await read("files", { method: "POST", body, signal });
  return { id, url: urls.get };
}

/** Remove a file that was sent; one that is gone already is no matter. @param {string} id */
export const removeUpload = (id) => send(`files/${id}`, { method: "DELETE" }).catch(() => {});
