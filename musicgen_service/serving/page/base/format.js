// @ts-check
/** Numbers, times and names as people read them. */
import { S } from "../strings.js";

/** @param {number} seconds as 1:05 */
export function clock(seconds) {
  const whole = Math.floor(seconds + 0.05);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} value @param {number} [digits] after the point at most */
export function number(value, digits = 2) {
  return String(Number(value.toFixed(digits)));
}

/** @param {number} count of bytes */
export function bytes(count) {
  let unit = 0;
  while (count >= 1000 && unit < S.bytes.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${number(count, count < 10 && unit ? 1 : 0)} ${S.bytes[unit]}`;
}

/** @param {string} text @param {number} length at most, in characters */
export function shorten(text, length) {
  const characters = [...text.replace(/\s+/g, " ").trim()];
  return characters.length <= length ? characters.join("") : `${characters.slice(0, length - 1).join("")}…`;
}

/** @param {string} name as `top_k` @returns as `Top k` */
export function title(name) {
  const words = name.replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
