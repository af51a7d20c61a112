// @ts-check
/** Builds elements. Text is only ever set as text, so that markup in a prompt or a file name stays text. */

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [properties] attributes; `class`; `on`: listeners by event; `data`: data attributes;
 *   a property that is null, undefined or false is left out. A button submits nothing unless its type says so
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any} an HTMLElement of that tag
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  if (tag === "button") element.setAttribute("type", "button");
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || (value ?? null) === null) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child || child === ""));
  return element;
}

/** @type {Record<string, string>} paths in a box of 24 by 24, drawn as lines */
const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M7 5h3v14H7zM14 5h3v14h-3z",
  stop: "M7 7h10v10H7z",
  repeat: "M17 2l4 4-4 4M3 11V9a3 3 0 0 1 3-3h15M7 22l-4-4 4-4M21 13v2a3 3 0 0 1-3 3H3",
  star: "M12 3l2.8 5.7 6.2.9-4.5 4.4 1 6.2-5.5-2.9-5.5 2.9 1-6.2L3 9.6l6.2-.9z",
  download: "M12 3v12M7 10l5 5 5-5M4 20h16",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  close: "M6 6l12 12M18 6L6 18",
  microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5 11a7 7 0 0 0 14 0M12 18v3",
  file: "M12 16V4M7 9l5-5 5 5M4 20h16",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  system: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18z",
  wave: "M3 12h2l2-6 3 14 4-17 3 12 2-3h2",
  chevron: "M9 6l6 6-6 6",
};

/**
 * An icon, hidden from screen readers: its button has a label.
 * @param {string} name
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  for (const [attribute, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) {
    picture.setAttribute(attribute, value);
  }
  path.setAttribute("d", ICONS[name]);
  picture.append(path);
  return picture;
}

/**
 * A button with an icon, named for screen readers and on hover.
 * @param {string} name of the icon
 * @param {string} label
 * @param {(event: Event) => void} press
 * @param {Record<string, any>} [properties]
 */
export function iconButton(name, label, press, properties = {}) {
  const on = { click: press };
  return el("button", { class: "icon-button", "aria-label": label, title: label, on, ...properties }, icon(name));
}

/**
 * Show a message for a moment; a screen reader says it.
 * @param {string} message
 * @param {HTMLElement | null} [action] a button beside it
 */
export function announce(message, action = null) {
  const place = /** @type {HTMLElement} */ (document.getElementById("messages"));
  const note = el("div", { class: "message" }, el("span", {}, message), action);
  place.append(note);
  setTimeout(() => note.remove(), action ? 10_000 : 6_000);
  return note;
}

/** @param {string} message for screen readers alone: the page shows it by itself */
export function say(message) {
  const place = /** @type {HTMLElement} */ (document.getElementById("spoken"));
  place.textContent = message;
}

let lastNumber = 0;

/** @param {string} prefix @returns an id that no other element has */
export function uniqueId(prefix) {
  lastNumber += 1;
  return `${prefix}-${lastNumber}`;
}
