// Sign in again over the page that stands there: the session ended, and nothing of the page has to go for it.

import { t } from "./text.js";

/** Ask for the password of the person whose page this is. Resolves to whether they are signed in again. */
export function signIn() {
  const dialog = document.querySelector("#sign-in");
  if (dialog.open) return Promise.resolve(false);
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector("[data-sign-in-problem]");
  problem.textContent = "";
  form.reset();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      if (event.submitter?.value === "no") return;
      event.preventDefault();
      problem.textContent = await tried(form);
      if (problem.textContent) return form.elements.password.select();
      dialog.close("yes");
    };
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.returnValue = "";
    dialog.showModal();
    form.elements.password.focus();
  });
}

/** Why the sign-in failed, or "". */
async function tried(form) {
  try {
    // asked as an exchange, the answer is a word and not the page behind it
    const response = await fetch(form.action, {
      method: "POST",
      headers: { "hx-request": "true" },
      body: new URLSearchParams(new FormData(form)),
    });
    if (response.ok) return "";
    if (response.status === 422) return t("This password is wrong.");
    if (response.status === 429) return t("Too many attempts: wait a little and try again.");
    return t("The server answered {status}: try again.", { status: response.status });
  } catch {
    return t("The server cannot be reached: try again.");
  }
}
