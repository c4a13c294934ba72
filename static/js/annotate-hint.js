// What the page says about a key: to screen readers, and for those who look, beside the answers.

const SHOWN = 4_000;
let timer = null;

/** Say `text` to screen readers. (Importing base.js by another address than the page's would run it twice.) */
export function announce(text) {
  const live = document.querySelector("#status"); // looked up each time: going back and forward replaces the whole body
  live.textContent = "";
  // a live region speaks only when its text changes: the same words twice need a moment of silence between
  setTimeout(() => {
    live.textContent = text;
  }, 50);
}

/** Say why what was pressed does nothing, and show it for a moment where it moves nothing. */
export function hint(text) {
  announce(text);
  const place = document.querySelector("[data-hint]");
  if (!place) return;
  place.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => place.replaceChildren(), SHOWN);
}
