/** Small helpers for building elements and writing numbers. */

/** An element with properties, listeners (`onclick`), attributes (`aria-label`) and children. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key.includes("-") || key === "for" || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A time in a song: 3:05, or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** A time to wait, in words. */
export function wait(seconds) {
  if (seconds < 1.5) return "about a second left";
  if (seconds < 90) return `about ${Math.round(seconds)} seconds left`;
  return `about ${Math.round(seconds / 60)} minutes left`;
}

/** The gain that a level in dB stands for. */
export const toGain = (decibels) => (decibels === null ? 0 : 10 ** (decibels / 20));

/** A level as people write it. */
export function inDecibels(decibels) {
  if (decibels === null) return "off";
  return `${decibels > 0 ? "+" : decibels < 0 ? "−" : ""}${Math.abs(decibels)} dB`;
}

/** The value that is remembered in this browser, and a way to change it. */
export function remembered(key, fallback) {
  return {
    get: () => localStorage.getItem(`duetto-${key}`) ?? fallback,
    set: (value) => localStorage.setItem(`duetto-${key}`, value),
  };
}
