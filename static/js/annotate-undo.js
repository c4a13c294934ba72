// The offer to undo the last submission: it goes by itself, but not while somebody is about to use it.

const OFFERED = 10_000;

/** `key` takes it back, too: the page after the last item knows no keys, so that it is said here. */
export function offerUndo(form, key) {
  const button = form.querySelector("button");
  if (key && !button.querySelector("kbd")) {
    const shown = document.createElement("kbd");
    shown.textContent = key;
    shown.ariaHidden = "true";
    button.append(" ", shown);
    button.setAttribute("aria-keyshortcuts", key);
  }
  let left = OFFERED;
  const timer = setInterval(() => {
    if (!form.isConnected) clearInterval(timer);
    else if (form.matches(":hover, :focus-within")) return;
    else {
      left -= 250;
      if (left > 0) return;
      clearInterval(timer);
      form.remove();
    }
  }, 250);
}
