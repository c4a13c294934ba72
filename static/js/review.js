// Walking through annotations with j and k. The keys work only while the list, or the annotation, has the focus.

const walk = document.querySelector("[data-walk]");
const stops = [...(walk?.querySelectorAll("[data-walk-to]") ?? [])];

/** In a list the next or previous row; on the page of one annotation its neighbour. */
function step(by) {
  if (stops.length === 0) {
    document.querySelector(`a[rel=${by > 0 ? "next" : "prev"}]`)?.click();
    return;
  }
  const at = stops.findIndex((stop) => stop.closest("li").contains(document.activeElement));
  stops[Math.min(Math.max(at + by, 0), stops.length - 1)].focus();
}

walk?.addEventListener("keydown", (event) => {
  const { isCommand, isComposing, meaning } = globalThis.corralRead;
  if (isComposing(event) || isCommand(event) || event.target.closest("input, textarea, select")) return;
  const key = meaning(event, (each) => each === "j" || each === "k");
  if (!key) return;
  event.preventDefault();
  step(key === "j" ? 1 : -1);
});

const keys = document.querySelector("[data-walk-keys]");
if (keys) keys.hidden = false;
