// @ts-check
/** Light, dark, or as the system has it. */
import { S } from "../strings.js";
import { el, icon } from "./dom.js";

const NAME = "musicgen-theme";
const THEMES = ["auto", "light", "dark"];
const ICONS = { auto: "system", light: "sun", dark: "moon" };

/** @param {HTMLButtonElement} button switches to the next theme when it is pressed */
export function themeSwitch(button) {
  const stored = localStorage.getItem(NAME) ?? "auto";
  let theme = THEMES.includes(stored) ? stored : "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(ICONS[theme]));
    button.setAttribute("aria-label", S.theme[theme]);
    button.title = S.theme[theme];
    document.dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem(NAME, theme);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}

/** @param {string} name of a colour in style/base.css @returns its value in the current theme */
export function colour(name) {
  const probe = el("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
