// What the annotation page says to its person: aloud, beside the answers, and in notices.

const make = (tag, values) => Object.assign(document.createElement(tag), values);

/** Say `text` to screen readers. (Importing base.js by another address than the page's would run it twice.) */
export function announce(text) {
  const live = document.querySelector("#status"); // looked up each time: going back and forward replaces the whole body
  live.textContent = "";
  // a live region speaks only when its text changes: the same words twice need a moment of silence between
  setTimeout(() => {
    live.textContent = text;
  }, 50);
}

/** Say why what was pressed does nothing, to those who listen and those who look. */
export async function hint(text) {
  announce(text);
  (await import("./annotate-hint.js")).show(text);
}

/** Show `message` in a `place` of its own, so that it takes no other one away: about the submit, the draft or the lease. */
export function notice(root, place, message, link) {
  const shown = make("div", { className: "notice notice--warn" });
  shown.append(make("p", { textContent: message }));
  if (link) shown.append(make("a", { className: "button button--small", ...link }));
  const problem = root.querySelector(`[data-problem="${place}"]`);
  problem.replaceChildren(shown);
  problem.scrollIntoView({ block: "nearest" });
  return shown;
}

export function clearNotice(root, place) {
  root.querySelector(`[data-problem="${place}"]`).replaceChildren();
}
