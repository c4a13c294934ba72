// What all plots share: the colours of the theme, as the canvas understands them, and what happens when they change.

export const HEIGHT = 180;

/** A colour of tokens.css as the canvas understands it: light-dark() is resolved by the element that it colours. */
export function colour(name) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

export function axis(options = {}) {
  const grid = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--ink-soft"), grid, ticks: { ...grid, size: 4 }, font: "12px system-ui", ...options };
}

/** A number as the reader writes it, with so many digits behind its point. */
export function figure(value, digits) {
  const exact = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString(document.documentElement.lang, exact);
}

/** The same of the numbers beside an axis. */
export function labels(_, splits) {
  return splits.map((value) => value?.toLocaleString(document.documentElement.lang));
}

/** Call `redraw` whenever the theme changes: a canvas does not follow it by itself. */
export function whenColoursChange(redraw) {
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
