// Labelling a response step by step, one row at a time by three keys: it stops at the first wrong step and asks for the right one.

import { t } from "./text.js";

const WRONG = -1;

/** What is said of the steps, from the first one to the first that is wrong or of which nothing is said (null). */
export function labelled(values) {
  const end = values.findIndex((value) => value === null || value === WRONG);
  if (end === -1) return values;
  return values.slice(0, values[end] === WRONG ? end + 1 : end);
}

/** Why `labels` of so many `steps` cannot be submitted yet, or "". */
export function missingLabel(labels, steps, right, required) {
  if (labels.at(-1) === WRONG) {
    return required && !right.trim() ? t("This batch requires the right step: write what should stand there.") : "";
  }
  if (labels.length >= steps) return "";
  return t("Label step {step} of {steps}, or an earlier one as wrong.", { step: labels.length + 1, steps });
}

export class Stepper {
  constructor(section, { required, announce, hint, onChange }) {
    Object.assign(this, { required, announce, hint, onChange });
    this.rows = [...section.querySelectorAll("[data-step]")];
    this.right = section.querySelector("[data-steps-right]");
    this.area = this.right?.querySelector("textarea");
    this.size = section.querySelector("[data-steps-size]");
    section.addEventListener("change", ({ target }) => target.type === "radio" && this.#chosen(target));
    this.area?.addEventListener("input", onChange);
    const { length } = this.labels;
    this.now = this.isWrong ? length - 1 : Math.min(length, this.rows.length - 1);
    this.#show();
  }

  get labels() {
    return labelled(this.rows.map((row) => this.#valueOf(row)));
  }

  get isWrong() {
    return this.labels.at(-1) === WRONG;
  }

  /** What a draft says of the steps. */
  said() {
    const { labels } = this;
    return { step_labels: labels, right_step: labels.at(-1) === WRONG ? (this.area?.value ?? "") : "" };
  }

  /** Why it cannot be submitted, or ""; what is missing gets the focus. */
  problem() {
    const problem = missingLabel(this.labels, this.rows.length, this.area?.value ?? "", this.required);
    if (problem && this.isWrong) this.area.focus();
    else if (problem) this.#goTo(this.labels.length);
    return problem;
  }

  /** Label the step at hand; a wrong one asks for the right step, any other brings the next. */
  label(value) {
    this.rows[this.now].querySelector(`input[value="${value}"]`).checked = true;
    const number = this.now + 1;
    if (value === WRONG) {
      this.#show();
      if (this.area) this.area.focus();
      else this.focus();
      const said = { step: number };
      if (this.area) this.announce(t("Step {step} is wrong. Write what should stand there.", said));
      else this.announce(t("Step {step} is wrong.", said));
    } else if (number === this.rows.length) {
      this.#goTo(this.now);
      this.hint(t("All steps are labelled: Ctrl Enter submits"));
    } else this.#goTo(number);
    this.onChange();
  }

  back() {
    if (this.now === 0) return this.hint(t("This is the first step"));
    this.#goTo(this.now - 1);
  }

  focus() {
    this.rows[this.now]?.querySelector(".step__row").focus();
  }

  /** Go to the text of the right step. */
  write() {
    if (this.area && this.isWrong) this.area.focus();
    else this.hint(this.area ? t("No step is labelled as wrong") : t("This batch does not ask for the right step"));
  }

  /** By pointer or arrow keys: the focus stays where it is. */
  #chosen(radio) {
    const row = this.rows.indexOf(radio.closest("[data-step]"));
    this.now = Number(radio.value) === WRONG ? row : Math.min(row + 1, this.rows.length - 1);
    this.#show();
  }

  #goTo(row) {
    this.now = row;
    this.#show();
    this.focus();
  }

  #valueOf(row) {
    const chosen = row.querySelector("input:checked");
    return chosen ? Number(chosen.value) : null;
  }

  #show() {
    const { labels, isWrong } = this;
    this.rows.forEach((row, place) => {
      row.toggleAttribute("data-now", place === this.now);
      row.toggleAttribute("data-waits", place > labels.length - (isWrong ? 1 : 0));
    });
    if (this.right) this.right.hidden = !isWrong;
    this.size.textContent = t("{done} of {all} labelled", { done: labels.length, all: this.rows.length });
  }
}

/** The steps of `work`'s item. */
export function stepperOf(work, hint) {
  return new Stepper(work.root.querySelector("[data-steps]"), {
    required: work.root.dataset.edit === "required",
    announce: work.announce,
    hint,
    onChange: () => work.changed(),
  });
}
