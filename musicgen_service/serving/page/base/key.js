// @ts-check
/** Asks for the key of a service that wants one. */
import { S } from "../strings.js";
import { onKeyNeeded, key } from "./api.js";
import { el, uniqueId } from "./dom.js";

/** @type {Promise<string | null> | null} one question for all requests that wait */
let asking = null;

export function installKeyDialog() {
  onKeyNeeded(() => {
    asking ??= ask().finally(() => {
      asking = null;
    });
    return asking;
  });
}

/** @returns {Promise<string | null>} */
function ask() {
  return new Promise((resolve) => {
    const id = uniqueId("key");
    const input = el("input", { id, type: "password", autocomplete: "current-password", required: true });
    const cancel = el("button", { class: "button", on: { click: () => dialog.close() } }, S.key.cancel);
    const save = el("button", { type: "submit", class: "button primary" }, S.key.save);
    const wrong = key() ? el("p", { class: "field-error", role: "alert" }, S.key.wrong) : null;
    const form = el("form", {}, el("h2", {}, S.key.heading), el("label", { for: id }, S.key.label), input, wrong, el("p", { class: "field-help" }, S.key.help), el("div", { class: "dialog-buttons" }, cancel, save));
    const dialog = el("dialog", { class: "dialog", "aria-label": S.key.heading }, form);
    /** @type {string | null} */
    let given = null;
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      given = input.value.trim();
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(given || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
