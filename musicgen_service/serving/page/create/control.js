// @ts-check
/** One labelled control for one input of the schema. */
import { S, fill } from "../strings.js";
import { el, uniqueId } from "../base/dom.js";
import { title } from "../base/format.js";
import { AudioInput } from "./audio_input.js";

/** @typedef {import("../base/schema.js").Field} Field */

/** @type {Record<string, number>} lines of texts that are longer than others */
const ROWS = { prompt: 3, sections: 4, time_signature: 1, adapter: 1, adapter_name: 1, trigger: 1 };

/** Texts that need half a row. */
const SHORT = new Set(["time_signature", "adapter_name", "trigger"]);

/** @param {string} name of an input */
export function fieldName(name) {
  return /** @type {Record<string, string>} */ (S.fields.names)[name] ?? title(name);
}

/** @param {Record<string, string>} texts @param {string} name */
const optional = (texts, name) => texts[name] ?? "";

/** A control, its label, its help and its error. */
export class Control {
  /** @param {Field} field */
  constructor(field) {
    this.field = field;
    const id = uniqueId("input");
    const unit = optional(S.fields.units, field.name);
    this.error = el("p", { class: "field-error", id: `${id}-error`, role: "alert", hidden: true });
    const help = el("p", { class: "field-help", id: `${id}-help` }, this.#helpText());
    /** @type {AudioInput | null} */
    this.audio = null;
    if (field.kind === "file") {
      this.audio = new AudioInput(fieldName(field.name));
      this.input = this.audio.element;
      this.element = el("fieldset", { class: "field field-file" }, el("legend", {}, fieldName(field.name)), this.input, this.error);
      this.element.dataset.input = field.name;
      return;
    }
    this.input = this.#makeInput(id, `${id}-help ${id}-error`);
    this.input.addEventListener("input", () => this.#changed());
    const label = el("label", { for: id }, fieldName(field.name));
    const isWide = field.kind === "text" && !SHORT.has(field.name);
    const row = unit ? el("div", { class: "with-unit" }, this.input, el("span", { class: "unit" }, unit)) : this.input;
    this.element =
      field.kind === "boolean"
        ? el("div", { class: "field field-check" }, this.input, label, help, this.error)
        : el("div", { class: `field${isWide ? " field-wide" : ""}` }, label, row, help, this.error);
    this.element.dataset.input = field.name;
    this.clear();
  }

  /** @type {(() => void)[]} */
  #listeners = [];

  /** @param {() => void} listener called whenever its value is another */
  whenSet(listener) {
    this.#listeners.push(listener);
  }

  #changed() {
    this.showError("");
    for (const listener of this.#listeners) listener();
  }

  #helpText() {
    const { minimum, maximum, help } = this.field;
    if (minimum === undefined || maximum === undefined) return help;
    return `${help} ${fill(S.fields.range, { low: minimum, high: maximum })}.`.trim();
  }

  /** @param {string} id @param {string} describedBy */
  #makeInput(id, describedBy) {
    const { name, kind, minimum, maximum } = this.field;
    const common = { id, name, "aria-describedby": describedBy };
    const placeholder = optional(S.fields.placeholders, name);
    if (kind === "choice") return el("select", common, ...this.#choices().map(([value, text]) => el("option", { value }, text)));
    if (kind === "boolean") return el("input", { ...common, type: "checkbox" });
    if (kind === "text") {
      const rows = ROWS[name] ?? 2;
      return el("textarea", { ...common, rows, placeholder, maxlength: 4000, spellcheck: "false" });
    }
    const step = kind === "integer" ? 1 : "any";
    return el("input", { ...common, type: "number", min: minimum, max: maximum, step, placeholder, inputmode: "decimal" });
  }

  /** Values and texts of the choices; where none has to be made, the first one is to leave it out. */
  #choices() {
    const { default: initial, choices, required } = this.field;
    const made = choices.map((choice) => [choice, choice]);
    return initial === undefined && !required ? [["", S.fields.noChoice], ...made] : made;
  }

  /** Set the default. */
  clear() {
    if (this.audio) {
      this.audio.clear();
      return;
    }
    const { kind, default: initial } = this.field;
    if (kind === "boolean") this.input.checked = Boolean(initial);
    else this.input.value = initial ?? (kind === "choice" ? this.#choices()[0][0] : "");
    this.#changed();
  }

  /** @param {any} value of a recipe or of another task; null is none */
  set(value) {
    if (this.field.kind === "boolean") this.input.checked = Boolean(value);
    else if (!this.audio) this.input.value = value ?? "";
    this.#changed();
  }

  /** The value as the service takes it; undefined when it is the default, or empty. */
  get value() {
    const { kind, default: initial } = this.field;
    if (this.audio) return undefined;
    if (kind === "boolean") return this.input.checked === Boolean(initial) ? undefined : this.input.checked;
    const text = this.input.value.trim();
    if (!text) return undefined;
    const value = this.field.isNumber ? Number(text) : text;
    return value === initial ? undefined : value;
  }

  /** Check the value. @param {boolean} isNeeded @returns {boolean} whether it may be sent; otherwise the error is shown */
  check(isNeeded) {
    const problem = this.#problem(isNeeded);
    this.showError(problem);
    return !problem;
  }

  /** @param {boolean} isNeeded */
  #problem(isNeeded) {
    const { kind, minimum, maximum } = this.field;
    const name = fieldName(this.field.name);
    if (this.audio) return isNeeded && !this.audio.file ? fill(S.fields.required, { name }) : "";
    if (isNeeded && kind !== "boolean" && !this.input.value.trim() && !this.input.validity.badInput) {
      return fill(S.fields.required, { name });
    }
    if (kind !== "number" && kind !== "integer") return "";
    if (this.input.validity.badInput) return fill(S.fields.notANumber, { name });
    const { value } = this;
    if (value === undefined) return "";
    const isOutside = (minimum !== undefined && value < minimum) || (maximum !== undefined && value > maximum);
    if (isOutside) return fill(S.fields.outOfRange, { name, low: minimum ?? "−∞", high: maximum ?? "∞" });
    return kind === "integer" && !Number.isInteger(value) ? fill(S.fields.notWhole, { name }) : "";
  }

  /** @param {string} sentence an empty one removes the error */
  showError(sentence) {
    this.error.textContent = sentence;
    this.error.hidden = !sentence;
    const target = this.audio ? this.audio.element : this.input;
    target.toggleAttribute("data-invalid", Boolean(sentence));
    if (!this.audio) target.setAttribute("aria-invalid", String(Boolean(sentence)));
  }

  /** Put the keyboard's focus on it. */
  focus() {
    (this.audio ? this.audio.firstButton : this.input).focus();
  }
}
