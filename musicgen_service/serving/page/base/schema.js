// @ts-check
/** The inputs of the service, as its schema describes them: whatever predictor is served, its form comes from here. */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {"text" | "number" | "integer" | "boolean" | "choice" | "file"} kind
 * @property {string} help
 * @property {any} default undefined without one
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {string[]} choices
 * @property {boolean} isNumber whether its choices are numbers
 * @property {boolean} required
 */

/**
 * @param {any} schema the OpenAPI document
 * @param {string} [of] what the inputs are of
 * @returns {Map<string, Field>} the inputs, in their order
 */
export function readFields(schema, of = "Input") {
  const schemas = schema.components.schemas;
  const required = new Set(schemas[of].required ?? []);
  const entries = Object.entries(schemas[of].properties).sort(([, a], [, b]) => (a["x-order"] ?? 0) - (b["x-order"] ?? 0));
  return new Map(entries.map(([name, entry]) => [name, readField(name, entry, schemas, required.has(name))]));
}

/** @param {string} name @param {any} entry @param {any} schemas @param {boolean} required @returns {Field} */
function readField(name, entry, schemas, required) {
  const reference = entry.allOf?.[0]?.$ref ?? entry.$ref;
  const target = reference ? schemas[reference.split("/").pop()] : entry;
  const choices = (target.enum ?? []).map(String);
  return {
    name,
    kind: choices.length ? "choice" : kindOf(target),
    help: entry.description ?? "",
    default: entry.default,
    minimum: entry.minimum,
    maximum: entry.maximum,
    choices,
    isNumber: ["number", "integer"].includes(target.type),
    required,
  };
}

/** @param {any} entry @returns {Field["kind"]} */
function kindOf(entry) {
  if (entry.type === "string" && entry.format === "uri") return "file";
  return ["number", "integer", "boolean"].includes(entry.type) ? entry.type : "text";
}
