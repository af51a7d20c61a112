// @ts-check
/** Records from the microphone. */
import { S, fill } from "../strings.js";

/** Why there is no sound, as the end of a sentence. */
const REASONS = { NotAllowedError: S.audio.denied, NotFoundError: S.audio.missing };

/** One recording at a time. */
export class Recorder {
  /** @type {MediaRecorder | null} */
  #recorder = null;

  /**
   * Record until `stop` is called.
   * @param {(seconds: number) => void} progress called a few times a second
   * @returns {Promise<File>} what was recorded
   * @throws {Error} with a sentence, when there is no microphone or it may not be used
   */
  async record(progress) {
    if (!navigator.mediaDevices) throw new Error(fill(S.audio.noMicrophone, { reason: S.audio.insecure }));
    let stream;
    try {
      // Processing for calls would take the music out of what is played.
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      const reason = /** @type {Record<string, string>} */ (REASONS)[name] ?? message;
      throw new Error(fill(S.audio.noMicrophone, { reason }));
    }
    const recorder = new MediaRecorder(stream);
    this.#recorder = recorder;
    /** @type {Blob[]} */
    const parts = [];
    const began = performance.now();
    const timer = setInterval(() => progress((performance.now() - began) / 1000), 200);
    try {
      await new Promise((resolve, reject) => {
        recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
        recorder.addEventListener("stop", resolve);
        recorder.addEventListener("error", reject);
        recorder.start();
      });
    } finally {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      this.#recorder = null;
    }
    const type = recorder.mimeType.split(";")[0] || "audio/webm";
    return new File(parts, S.audio.recorded.replace("webm", type.split("/")[1]), { type });
  }

  /** End the recording. */
  stop() {
    this.#recorder?.stop();
  }
}
