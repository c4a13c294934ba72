// Selecting a passage by keys, without a pointer or caret browsing: sentences and words, as they are read in their language.

import { moved, partsOf } from "./annotate-passages.js";
import { rangeOf, selectedPassage, textNodes } from "./annotate-marks.js";
import { t } from "./text.js";

export class Selector {
  constructor(root, { announce, hint, labels }) {
    Object.assign(this, { root, announce, hint, labels });
    this.known = new WeakSet();
  }

  /** Select in the text of response `name`; from another text that is at hand, in the next one. */
  open(name) {
    const shown = [...this.root.querySelectorAll("[data-response]")].filter((each) => each.checkVisibility());
    const at = shown.findIndex(
      (each) => each.contains(document.activeElement) && this.text?.contains(document.activeElement),
    );
    const article =
      at < 0 ? (shown.find((each) => each.dataset.response === name) ?? shown[0]) : shown[(at + 1) % shown.length];
    this.text = [...article.querySelectorAll(".response__text, .response__raw")].find((each) => each.checkVisibility());
    this.nodes = this.text ? textNodes(this.text) : [];
    this.whole = this.nodes.map((node) => node.data).join("");
    this.sentences = partsOf(this.whole, "sentence");
    this.words = partsOf(this.whole, "word");
    if (!this.sentences.length) return this.hint(t("This response has no text to select"));
    this.#prepare(article.dataset.response);
    const selection = document.getSelection();
    const found = selection.rangeCount && !selection.isCollapsed ? selectedPassage(selection.getRangeAt(0)) : null;
    this.text.focus({ preventScroll: true });
    this.#select(found?.text === this.text ? found.passage : this.sentences[0]);
    const where = { name: article.dataset.response };
    this.hint(t("Response {name}: ↓ ↑ sentences, → ← words, with Shift more or less of them", where));
  }

  #prepare(name) {
    const { text } = this;
    if (this.known.has(text)) return;
    this.known.add(text);
    if (!text.hasAttribute("tabindex")) text.tabIndex = -1;
    text.dataset.ownKeys = "";
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", t("Text of response {name}", { name }));
    text.addEventListener("keydown", (event) => this.#key(event));
    text.addEventListener("blur", () => document.hasFocus() && document.getSelection().removeAllRanges());
  }

  #select(passage) {
    this.now = passage;
    const range = rangeOf(this.nodes, passage);
    const selection = document.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    range.startContainer.parentElement.scrollIntoView({ block: "nearest" });
    this.announce(this.whole.slice(passage.start, passage.end));
  }

  #key(event) {
    if (globalThis.corralRead.isComposing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return document.getSelection().removeAllRanges(); // and the page takes the focus back
    const along = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const across = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!along && !across) return;
    event.preventDefault();
    event.stopPropagation();
    const way = across * (this.#isRightToLeft() ? -1 : 1);
    const to = moved(along ? this.sentences : this.words, this.now, along ?? way, event.shiftKey);
    if (to) this.#select(to);
    else this.hint(t("There is no text beyond this"));
  }

  #isRightToLeft() {
    return getComputedStyle(rangeOf(this.nodes, this.now).startContainer.parentElement).direction === "rtl";
  }
}
