// What every page shares: the theme, messages, copying, confirming, local times. Pages work without it.
// Pages import what they say with from here: it lies in the folder of their version, so it runs once.

import { region, t } from "./text.js";

const make = (tag, values) => Object.assign(document.createElement(tag), values);

/** Say `text` to screen readers, politely and without moving anything on the page. */
export function announce(text) {
  const status = document.querySelector("#status"); // looked up each time: going back and forward replaces the whole body
  status.textContent = "";
  // A live region speaks only when its text changes: the same words twice need a moment of silence between.
  setTimeout(() => {
    status.textContent = text;
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

/** What scrolls by itself in `root` can be reached by keys. */
export function reachable(root) {
  for (const box of root.querySelectorAll(".md-scroll, .md-maths, .md-code > code, .markup math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
}

export function clearNotice(root, place) {
  root.querySelector(`[data-problem="${place}"]`).replaceChildren();
}

/** Show `text` at the bottom for a few seconds, and say it. `kind` is "good", "warn" or "bad". */
function toast(text, kind = "good") {
  const note = document.createElement("div");
  note.className = `notice notice--${kind}`;
  const words = document.createElement("p");
  words.textContent = text;
  note.append(words);
  document.querySelector("#toasts").append(note);
  announce(text);
  setTimeout(() => note.remove(), 6000);
}

/** Ask in a dialog; resolves to whether the answer was yes. */
function confirmed(question, yes = t("Yes, do it")) {
  const dialog = document.querySelector("#confirm");
  dialog.querySelector("[data-question]").textContent = question;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Put `text` on the clipboard; resolves to whether. Plain http has no clipboard to write to, but what is copied can be given. */
export async function copyText(text) {
  let isDone = false;
  const give = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
    event.stopPropagation();
    isDone = true;
  };
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    document.addEventListener("copy", give, true);
    document.execCommand("copy");
    document.removeEventListener("copy", give, true);
    return isDone;
  }
}

async function copyValue(button) {
  const source = document.querySelector(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.value);
    toast(t("Copied."));
  } catch {
    // No clipboard on plain http: leave the text selected, one keystroke away.
    source.focus();
    source.select();
    toast(t("Press {keys} to copy.", { keys: "Ctrl+C" }), "warn");
  }
}

function setTheme(form, chosen) {
  document.documentElement.dataset.theme = chosen;
  for (const button of form.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === chosen));
  }
  fetch(form.action, { method: "POST", body: new URLSearchParams({ theme: chosen }), redirect: "manual" });
  announce({ system: t("Theme: system"), light: t("Theme: light"), dark: t("Theme: dark") }[chosen]);
}

/** Say in which time zone this browser is: the server counts "today" by it. */
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  // biome-ignore lint/suspicious/noDocumentCookie: the cookie store is not there on plain http
  if (zone) document.cookie = `zone=${zone}; path=/; max-age=31536000; samesite=lax`;
}

function showLocalTimes(root) {
  const format = new Intl.DateTimeFormat(region(), { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[data-local]")) {
    const moment = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = format.format(moment);
    time.removeAttribute("data-local");
  }
}

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) copyValue(copy);
  event.target.closest("[data-dismiss]")?.closest(".notice")?.remove();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || globalThis.corralRead.isComposing(event)) return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (form.matches("[data-theme-form]") && event.submitter) {
      event.preventDefault();
      setTheme(form, event.submitter.value);
    } else if (form.dataset.confirm && !form.dataset.sure) {
      event.preventDefault();
      event.stopImmediatePropagation();
      confirmed(form.dataset.confirm, event.submitter?.textContent.trim()).then((sure) => {
        if (!sure) return;
        form.dataset.sure = "yes";
        form.requestSubmit(event.submitter);
        delete form.dataset.sure;
      });
    }
  },
  true,
);

// What this browser kept of a person's work goes with them: the server asks for it too, which only counts over TLS.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-forget]")) return;
  try {
    localStorage.clear();
    sessionStorage.clear();
  } catch {} // a browser that keeps nothing has nothing to forget
});

document.addEventListener("htmx:after:swap", () => showLocalTimes(document));
document.addEventListener("htmx:error", () => {
  toast(t("The server could not be reached. Nothing was lost here; try again."), "bad");
});
showLocalTimes(document);
tellZone();
