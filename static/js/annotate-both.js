// Two drafts of one item, side by side, when two windows wrote at the same time.

import { described } from "./annotate-model.js";

/** Add to `notice` each of `drafts` ([title, draft, choose]) with a button that goes on with it. */
export function showBoth(notice, drafts) {
  const both = document.createElement("div");
  both.className = "both";
  for (const [title, draft, choose] of drafts) {
    const side = both.appendChild(document.createElement("section"));
    side.className = "stack stack--tight";
    side.appendChild(document.createElement("h2")).textContent = title;
    side.appendChild(document.createElement("pre")).textContent = described(draft);
    const button = side.appendChild(document.createElement("button"));
    Object.assign(button, {
      type: "button",
      className: "button button--small",
      textContent: `Use ${title.toLowerCase()}`,
    });
    button.addEventListener("click", choose);
  }
  notice.append(both);
}
