// @ts-check
/** Starts the page: its frame, the views behind the links at the top, and what may be dropped anywhere. */
import { S, fill } from "./strings.js";
import * as api from "./base/api.js";
import { announce, el } from "./base/dom.js";
import { installKeyDialog } from "./base/key.js";
import { readFields } from "./base/schema.js";
import { themeSwitch } from "./base/theme.js";
import { CreateView } from "./create/view.js";

/** @type {Record<string, () => Promise<any>>} views that are loaded when they are first asked for */
const LATER = {
  library: async () => new (await import("./library/view.js")).LibraryView(place("library")),
  analyse: async () => new (await import("./analyse/view.js")).AnalyseView(place("analyse")),
  teach: async () => new (await import("./teach/view.js")).TeachView(place("teach")),
  models: async () => new (await import("./models/view.js")).ModelsView(place("models")),
};
const VIEWS = ["create", ...Object.keys(LATER)];

/** @type {Record<string, Promise<any>>} */
const views = {};

/** @param {string} name @returns {HTMLElement} */
const place = (name) => /** @type {HTMLElement} */ (document.getElementById(name));

function fillTexts() {
  for (const element of document.querySelectorAll("[data-text]")) {
    const path = /** @type {HTMLElement} */ (element).dataset.text?.split(".") ?? [];
    element.textContent = path.reduce((/** @type {any} */ texts, name) => texts[name], S);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    const path = /** @type {HTMLElement} */ (element).dataset.label?.split(".") ?? [];
    element.setAttribute("aria-label", path.reduce((/** @type {any} */ texts, name) => texts[name], S));
  }
}

async function showView() {
  const asked = location.hash.slice(1);
  const name = VIEWS.includes(asked) ? asked : "create";
  for (const other of VIEWS) place(other).hidden = other !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = name === "create" ? S.title : `${S.nav[/** @type {"library"} */ (name)]} · ${S.title}`;
  const view = await viewOf(name);
  for (const [other, loaded] of Object.entries(views)) if (other !== name) (await loaded)?.hide?.();
  await view?.show?.();
}

/** @param {string} name */
function viewOf(name) {
  if (LATER[name]) views[name] ??= LATER[name]();
  return views[name];
}

/** @param {CreateView} create */
function acceptDrops(create) {
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    const { restore } = await import("./create/reuse.js");
    if (await restore(create, file)) return;
    if (create.form.audio && location.hash.slice(1) !== "analyse") await create.form.audio.take(file);
    else announce(fill(S.create.noRecipe, { name: file.name }));
  });
}

/** Say under which licence the model works that is chosen, or that the service would choose. @param {CreateView} create */
async function showLicences(create) {
  const { isNonCommercial } = await import("./models/view.js");
  const { models } = await api.models();
  const show = () => {
    const chosen = create.form.controls.get("model_version")?.input.value ?? "auto";
    const used = models.filter((/** @type {any} */ { name, present, kind }) => (chosen === "auto" ? present && kind !== "part" && kind !== "package" : name === chosen));
    const bound = used.find((/** @type {any} */ { licence }) => isNonCommercial(licence));
    create.showLicence(bound ? fill(S.models.note, { model: bound.name, licence: bound.licence }) : "");
  };
  create.form.element.addEventListener("change", show);
  show();
}

async function start() {
  fillTexts();
  themeSwitch(/** @type {HTMLButtonElement} */ (place("theme")));
  installKeyDialog();
  window.addEventListener("hashchange", showView);
  window.addEventListener("unhandledrejection", ({ reason }) => announce(fill(S.errors.page, { reason: reason?.message ?? reason })));
  document.body.hidden = false;
  /** @type {CreateView} */
  let create;
  try {
    const schema = await api.schema();
    create = new CreateView(place("create"), readFields(schema));
    place("teach-link").hidden = !schema.components.schemas.TrainingInput;
  } catch (error) {
    const retry = el("button", { class: "button", on: { click: () => location.reload() } }, S.jobs.retry);
    place("create").replaceChildren(el("div", { class: "empty", role: "alert" }, el("p", {}, /** @type {Error} */ (error).message), retry));
    return;
  }
  views.create = Promise.resolve(create);
  acceptDrops(create);
  document.addEventListener("use-clip", async (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (detail.what === "analyse") {
      location.hash = "analyse";
      await (await viewOf("analyse")).take(detail.clip);
    } else {
      const { useClip } = await import("./create/reuse.js");
      await useClip(create, detail);
    }
  });
  document.addEventListener("use-adapter", (event) => {
    const { name, trigger } = /** @type {CustomEvent} */ (event).detail;
    create.form.set({ adapter: name, prompt: trigger });
    location.hash = "create";
  });
  await showView();
  showLicences(create).catch(() => {}); // a service that has no list of models
}

start();
