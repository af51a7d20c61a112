// @ts-check
/** Programs that make exactly one request: for curl, Python, JavaScript and the command line. */
import { S, fill } from "../strings.js";
import { address, key } from "../base/api.js";
import { el, announce } from "../base/dom.js";

/** @param {string} text for a POSIX shell */
const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`);

/** @param {string} name of a file @returns one that is a plain name in every language */
const plain = (name) => name.replace(/[^\w.-]+/g, "-").replace(/^-+/, "") || "audio";

/** @param {string} text JSON @returns the same in Python */
const python = (text) => text.replace(/(?<=: |\[)(true|false|null)(?=[,\n}\]])/g, (word) => ({ true: "True", false: "False" })[word] ?? "None");

/**
 * @param {Record<string, any>} inputs
 * @param {Record<string, string>} files names of the files, by input
 * @returns {Record<string, string>} programs by language
 */
export function programs(inputs, files) {
  const url = address("predictions");
  const named = Object.entries(files).map(([name, file]) => [name, plain(file)]);
  const extension = inputs.output_format ?? "wav";
  const withKey = Boolean(key());
  const json = JSON.stringify(inputs, null, 2);
  return {
    curl: curl(url, inputs, named, withKey),
    python: [
      "import base64",
      "import json",
      ...(withKey ? ["import os"] : []),
      "import urllib.request",
      "from pathlib import Path",
      "",
      `inputs = ${python(json)}`,
      ...named.map(([name, file]) => `inputs[${JSON.stringify(name)}] = "data:;base64," + base64.b64encode(Path(${JSON.stringify(file)}).read_bytes()).decode()`),
      `headers = {"Content-Type": "application/json"${withKey ? ', "Authorization": "Bearer " + os.environ["MUSICGEN_KEY"]' : ""}}`,
      `request = urllib.request.Request(${JSON.stringify(url)}, json.dumps({"input": inputs}).encode(), headers)`,
      "with urllib.request.urlopen(request) as reply:",
      "    prediction = json.load(reply)",
      'if prediction["status"] != "succeeded":',
      '    raise SystemExit(prediction["error"])',
      'for number, output in enumerate(prediction["output"], 1):',
      `    Path(f"clip-{number}.${extension}").write_bytes(base64.b64decode(output.partition(",")[2]))`,
    ].join("\n"),
    javascript: [
      `import { ${named.length ? "readFile, " : ""}writeFile } from "node:fs/promises";`,
      "",
      `const input = ${json};`,
      ...named.map(([name, file]) => `input[${JSON.stringify(name)}] = \`data:;base64,\${await readFile(${JSON.stringify(file)}, "base64")}\`;`),
      `const reply = await fetch(${JSON.stringify(url)}, {`,
      '  method: "POST",',
      `  headers: { "Content-Type": "application/json"${withKey ? ", Authorization: `Bearer ${process.env.MUSICGEN_KEY}`" : ""} },`,
      "  body: JSON.stringify({ input }),",
      "});",
      "const prediction = await reply.json();",
      'if (prediction.status !== "succeeded") throw new Error(prediction.error);',
      "for (const [index, output] of prediction.output.entries()) {",
      "  const clip = await fetch(output);",
      `  await writeFile(\`clip-\${index + 1}.${extension}\`, Buffer.from(await clip.arrayBuffer()));`,
      "}",
    ].join("\n"),
    cli: cli(inputs, named, extension),
  };
}

/** @param {string} url @param {Record<string, any>} inputs @param {string[][]} named @param {boolean} withKey */
function curl(url, inputs, named, withKey) {
  const authorization = withKey ? ' -H "Authorization: Bearer $MUSICGEN_KEY"' : "";
  const request = `curl -s ${quote(url)} -H 'Content-Type: application/json'${authorization}`;
  if (!named.length) return `${request} \\\n     -d ${quote(JSON.stringify({ input: inputs }))}`;
  let text = JSON.stringify({ input: inputs }).slice(0, -2);
  const commands = [];
  for (const [name, file] of named) {
    text += `${text.endsWith("{") ? "" : ","}"${name}":"data:;base64,`;
    commands.push(`printf %s ${quote(text)}`, `base64 ${quote(file)} | tr -d '\\n'`);
    text = '"';
  }
  commands.push(`printf %s ${quote(`${text}}}`)}`);
  return `{ ${commands.join("; \\\n  ")}; } |\n${request} -d @-`;
}

/** @param {Record<string, any>} inputs @param {string[][]} named @param {string} extension */
function cli(inputs, named, extension) {
  const values = Object.entries(inputs).map(([name, value]) => {
    const text = String(value);
    return `-i ${quote(`${name}=${typeof value === "string" && text.startsWith("@") ? `@${text}` : text}`)}`;
  });
  const files = named.map(([name, file]) => `-i ${quote(`${name}=@${file}`)}`);
  return `python -m musicgen_service predict ${[...values, ...files].join(" ")} -o clip.${extension}`;
}

/** @param {Record<string, any>} inputs @param {Record<string, string>} files names of the files, by input */
export function showPrograms(inputs, files) {
  const all = programs(inputs, files);
  const names = /** @type {Record<string, string>} */ (S.code);
  const code = el("pre", { class: "code", tabindex: 0 });
  const tabs = Object.keys(all).map((language) =>
    el("button", { class: "chip", on: { click: () => show(language) }, data: { language } }, names[language]),
  );
  const show = (/** @type {string} */ language) => {
    code.textContent = all[language];
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.language === language));
  };
  const copy = el("button", { class: "button primary", on: { click: () => copyText(code) } }, S.code.copy);
  const close = el("button", { class: "button", on: { click: () => dialog.close() } }, S.code.close);
  const notes = Object.values(files).map((name) => el("p", { class: "field-help" }, fill(S.code.audio, { name: plain(name) })));
  const parts = [el("h2", {}, S.code.heading), el("div", { class: "chips" }, ...tabs), code, ...notes, el("div", { class: "dialog-buttons" }, close, copy)];
  const dialog = el("dialog", { class: "dialog wide", "aria-label": S.code.heading, on: { close: () => dialog.remove() } }, ...parts);
  document.body.append(dialog);
  show("curl");
  dialog.showModal();
}

/** @param {HTMLElement} element whose text is copied */
async function copyText(element) {
  try {
    await navigator.clipboard.writeText(element.textContent ?? "");
  } catch {
    // Without https there is no such clipboard: the text is selected, and the older command tried.
    getSelection()?.selectAllChildren(element);
    document.execCommand("copy");
  }
  announce(S.code.copied);
}
