// A form in steps: the one that the address names is shown, else the first in which something is to be corrected.
// Steps are places of the page, so links, the index and the browser's own way back lead from one to another.

const sections = () => [...document.querySelectorAll("[data-steps] > section")];
const isWrong = (section) => section.querySelector("[aria-invalid], .field__error") !== null;

function show({ isMoved = false } = {}) {
  const all = sections();
  const now = all.find(({ id }) => `#${id}` === location.hash) ?? all.find(isWrong) ?? all[0];
  for (const section of all) {
    const link = document.querySelector(`.steps-index a[href="#${section.id}"]`);
    section.toggleAttribute("data-now", section === now);
    link.querySelector(".steps-index__wrong").hidden = !isWrong(section);
    if (section === now) link.setAttribute("aria-current", "step");
    else link.removeAttribute("aria-current");
    for (const details of section.querySelectorAll("details")) details.open ||= isWrong(details);
  }
  if (isMoved) now?.querySelector("h2").focus();
}

// What is half filled in is not sent by a key that was meant for a field: it leads to the next step.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || globalThis.corralRead.isComposing(event)) return;
  if (!event.target.matches("[data-steps] input")) return;
  event.preventDefault();
  event.target.closest("section").querySelector("[data-next]")?.click();
});

addEventListener("hashchange", () => show({ isMoved: true }));

let making = document.querySelector("#making");

/** Once its file is kept the form has an address of its own: whoever loads the page again finds the file there. */
function settle() {
  const { at } = making.dataset;
  if (at && at !== location.pathname) history.replaceState(history.state, "", at + location.hash);
}

document.addEventListener("htmx:after:swap", () => {
  const now = document.querySelector("#making");
  if (now === making) return;
  making = now;
  settle();
  show({ isMoved: true });
  document.querySelector("#look").dispatchEvent(new Event("refresh"));
});

// What the server says of a file that it did not even read is a page of its own.
document.addEventListener("htmx:response:error", ({ target, detail }) => {
  if (target.id !== "field-file" || detail.ctx.response.status === 422) return;
  target.form.requestSubmit(target.form.querySelector("[name=look]"));
});

settle();
show();
