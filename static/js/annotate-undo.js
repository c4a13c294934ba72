// The offer to take back what was just submitted: it goes by itself, but not while somebody is about to use it.

const OFFERED = 10_000;

export function offerUndo(form) {
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
