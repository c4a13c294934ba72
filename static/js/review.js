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
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key !== "j" && event.key !== "k") return;
  event.preventDefault();
  step(event.key === "j" ? 1 : -1);
});

const keys = document.querySelector("[data-walk-keys]");
if (keys) keys.hidden = false;
