// Why a key does nothing, where one looks: beside the answers, for a moment, and it moves nothing.

const SHOWN = 4_000;
let timer = null;

export function show(text) {
  const place = document.querySelector("[data-hint]");
  if (!place) return;
  place.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => place.replaceChildren(), SHOWN);
}
