// @ts-check
/** A button that opens a list of actions. */
import { el, uniqueId } from "./dom.js";

/** @typedef {{label: string, act: () => void, hidden?: boolean}} Action */

/** @type {(() => void) | null} */
let closeOpen = null;

document.addEventListener("click", () => closeOpen?.());
document.addEventListener("keydown", (event) => event.key === "Escape" && closeOpen?.());

/**
 * @param {string} label
 * @param {Node | string} face what the button shows
 * @param {() => Action[]} actions asked for when it opens
 * @param {string} [look] class of the button
 */
export function menu(label, face, actions, look = "icon-button") {
  const id = uniqueId("menu");
  const list = el("div", { id, class: "menu-list", hidden: true });
  const open = { "aria-expanded": "false", "aria-controls": id, "aria-label": label, title: label };
  const button = el("button", { class: look, ...open }, face);
  const close = () => {
    list.hidden = true;
    button.setAttribute("aria-expanded", "false");
    closeOpen = null;
  };
  button.addEventListener("click", (/** @type {Event} */ event) => {
    event.stopPropagation();
    const wasOpen = !list.hidden;
    closeOpen?.();
    if (wasOpen) return;
    list.replaceChildren(
      ...actions()
        .filter((action) => !action.hidden)
        .map(({ label: text, act }) => el("button", { on: { click: act } }, text)),
    );
    list.hidden = false;
    // To the left, where there is no room on the right.
    list.classList.remove("leftwards");
    list.classList.toggle("leftwards", list.getBoundingClientRect().right > document.documentElement.clientWidth - 8);
    button.setAttribute("aria-expanded", "true");
    closeOpen = close;
  });
  const element = el("div", { class: "menu" }, button, list);
  element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (list.hidden) return;
    const items = [...list.querySelectorAll("button")];
    const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    if (event.key === "Escape") {
      close();
      button.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      items[(at + (event.key === "ArrowDown" ? 1 : -1) + items.length) % items.length]?.focus();
    }
  });
  return element;
}
