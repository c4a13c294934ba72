// What is asked of each response beside its place: one question at a time is at hand, and a digit answers it.

import { t } from "./text.js";

export class Rater {
  /** `show` brings the response of a question into sight, where only one is shown at a time. */
  constructor(form, { announce, hint, show, onChange }) {
    Object.assign(this, { announce, hint, show, onChange });
    this.questions = [...form.querySelectorAll(".rating")];
    for (const question of this.questions) {
      for (const step of this.#steps(question)) step.dataset.ownKeys = "";
      question.addEventListener("keydown", (event) => this.#key(event, question));
      question.addEventListener("focusin", () => this.#mark(question));
      // who answers by pointer sees what is next; with keys it is where the focus is
      question.addEventListener("change", () => {
        if (!question.matches(":has(:focus-visible)")) this.#mark(this.#open(question));
      });
    }
  }

  /** Whether a rating is missing. */
  get missing() {
    return this.#open() !== null;
  }

  /** Go to the first rating that is missing; returns whether there is one. */
  next() {
    const isMissing = this.#go(this.#open());
    if (isMissing) this.hint(t("Digits rate now; Esc goes back"));
    return isMissing;
  }

  /** The same, or else go to the first one. */
  focus() {
    return this.next() || this.#go(this.questions[0] ?? null);
  }

  #steps(question) {
    return [...question.querySelectorAll("input")];
  }

  /** The next question without an answer, after `question` or else from the start. */
  #open(question = null) {
    const at = this.questions.indexOf(question) + 1;
    const inTurn = [...this.questions.slice(at), ...this.questions.slice(0, at)];
    return inTurn.find((each) => !this.#steps(each).some((step) => step.checked)) ?? null;
  }

  #go(question) {
    if (!question) return false;
    this.show(question.closest("[data-response]").dataset.response);
    const steps = this.#steps(question);
    (steps.find((step) => step.checked) ?? steps[0]).focus();
    return true;
  }

  #mark(question) {
    for (const each of this.questions) {
      if (each === question) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
    }
  }

  #key(event, question) {
    const { isCommand, isComposing, meaning } = globalThis.corralRead;
    if (isComposing(event) || isCommand(event)) return;
    const digit = meaning(event, (key) => /^[1-9]$/.test(key));
    if (!digit) return;
    event.preventDefault();
    event.stopPropagation();
    const steps = this.#steps(question);
    const step = steps[digit - 1];
    if (!step) return this.hint(t("This question has {n} answers: 1 to {n}", { n: steps.length }));
    step.checked = true;
    this.onChange();
    const said = {
      question: question.querySelector("legend").textContent,
      answer: step.parentElement.textContent.trim(),
    };
    this.announce(t("{question}: {answer}", said));
    if (this.#go(this.#open(question))) return;
    step.focus();
    this.#mark(null);
    this.hint(t("Everything is rated: Enter submits"));
  }
}
