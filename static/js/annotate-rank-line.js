// The line in which a ranking is typed: letters, best first. What is wrong with it stands under it, and moves nothing.

import { typed, written } from "./annotate-ranking.js";
import { t } from "./text.js";

/** Whether a sign may stand in the line; what else is typed is refused with a reason. */
const isSign = (shown) => (sign) => /^[=>1-4 ]$/.test(sign) || "abcdefgh".slice(0, shown).includes(sign);

export class RankLine {
  /** `onTyped` is told a ranking, and whether it was typed to its end; `onDown` that the list is wanted. */
  constructor(section, { shown, announce, onTyped, onDown }) {
    Object.assign(this, { shown, announce, onTyped, onDown });
    this.field = section.querySelector("[data-rank-line]");
    this.said = section.querySelector("[data-rank-said]");
    this.good = "";
    this.left = [];
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("input", (event) => event.isComposing || this.#typed(event));
    this.field.addEventListener("compositionend", (event) => this.#typed(event));
    this.field.addEventListener("blur", () => this.#say(this.#missing()));
    this.#say("");
  }

  /** Go there; what stands in it is replaced by what is typed. */
  focus() {
    this.field.focus();
    this.field.select();
  }

  /** The ranking as it is now, whoever made it. */
  show(state) {
    this.good = state.touched ? written(state) : "";
    this.field.value = this.good;
    this.left = [];
    this.#say("");
  }

  /** What is missing, when something was typed; the line has the focus then. */
  complain() {
    const missing = this.#missing();
    if (!missing) return "";
    this.field.focus();
    this.#say(missing, true);
    return missing;
  }

  #missing() {
    const { left, good } = this;
    return good && left.length ? t("Not ranked yet: {names}.", { names: left.join(", ") }) : "";
  }

  #key(event) {
    const { isCommand, isComposing, isText, meaning } = globalThis.corralRead;
    if (isComposing(event) || isCommand(event)) return;
    if (event.key === "Enter") this.field.form.requestSubmit();
    else if (event.key === "ArrowDown") this.onDown();
    else if (isText(event)) {
      // typed here, and not by the browser: on another layout the letter is where the key is
      const sign = meaning(event, isSign(this.shown)) ?? event.key;
      document.execCommand("insertText", false, sign.toUpperCase());
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #typed({ inputType = "" }) {
    const { value } = this.field;
    const { state, left, filled, problem } = typed(value, this.shown);
    if (problem) {
      this.field.value = this.good;
      this.#say(problem, true);
      this.announce(problem);
      return;
    }
    this.good = value;
    this.left = left;
    if (state) this.onTyped(state, { isWhole: left.length === 0 });
    if (state && filled && !inputType.startsWith("delete")) {
      this.good = written(state);
      this.field.value = this.good;
    }
    this.#say(this.#missing());
    if (state && !left.length) this.announce(t("Ranked {names}", { names: state.order.join(", ") }));
  }

  #say(text, isProblem = false) {
    this.said.textContent = text || (this.good ? "" : t("Type the letters, best first; = for equally good."));
    this.said.toggleAttribute("data-bad", isProblem);
    this.field.setAttribute("aria-invalid", String(isProblem));
  }
}
