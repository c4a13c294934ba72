// Passages that an annotator marks: "this sentence is false". Select text of a response and press a digit, or tap what it is.

import { MarkBar } from "./annotate-mark-bar.js";
import { excerpt, locate, sourceOf, trimmed } from "./annotate-passages.js";
import { t } from "./text.js";

// painted in the text itself by name, without a change to the document; browsers that do not know it still have the list
const PAINTS = { good: "marked-good", other: "marked" };
const TEXTS = ".response__text, .response__raw";

const make = (tag, values) => Object.assign(document.createElement(tag), values);

/** The text of `element`, without what scripts put there. */
export function textNodes(element) {
  const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walk.nextNode()) if (!walk.currentNode.parentElement.closest("button")) nodes.push(walk.currentNode);
  return nodes;
}

/** The range from unit `start` to `end` of all `nodes` together. */
export function rangeOf(nodes, { start, end }) {
  const range = document.createRange();
  let seen = 0;
  for (const node of nodes) {
    const { length } = node.data;
    if (start >= seen && start < seen + length) range.setStart(node, start - seen);
    if (end > seen && end <= seen + length) range.setEnd(node, end - seen);
    seen += length;
  }
  return range;
}

/** What is selected of the text of one response: the element of the text, and the passage in units of all of its nodes. */
export function selectedPassage(range) {
  const from = range.startContainer;
  const text = (from.nodeType === Node.TEXT_NODE ? from.parentElement : from).closest(TEXTS);
  if (!text) return null;
  const nodes = textNodes(text);
  let [start, end, seen] = [null, null, 0];
  for (const node of nodes) {
    const { length } = node.data;
    if (range.intersectsNode(node)) {
      start ??= seen + (node === range.startContainer ? range.startOffset : 0);
      end = seen + (node === range.endContainer ? range.endOffset : length);
    }
    seen += length;
  }
  const whole = nodes.map((node) => node.data).join("");
  const passage = start === null ? null : trimmed(whole, { start, end });
  return passage && { text, nodes, whole, passage };
}

export class Marks {
  constructor(root, { work, announce, hint }) {
    const { texts, spans, keys, words } = work;
    Object.assign(this, { root, work, texts, spans, labels: words.marks, announce, hint });
    this.bar = new MarkBar(document.querySelector("[data-mark-bar]"), {
      keys,
      onLabel: (label) => this.mark(label),
      onNote: (note) => this.#note(note),
      onRemove: () => this.#remove(this.last),
    });
    this.#show();
  }

  /** Something was selected, or nothing any more: offer what it can be marked as. */
  selected(range) {
    if (!range) return this.bar.withdraw();
    this.range = range.cloneRange();
    this.bar.offer(range);
  }

  /** Mark what `range` has selected as `label`. */
  mark(label, range = this.range) {
    this.range = range;
    const found = range && selectedPassage(range);
    if (!found) return this.hint(t("Select text of one response first, then press the digit"));
    const name = found.text.closest("[data-response]").dataset.response;
    const span = sourceOf(this.texts[name], found.passage, found.whole);
    if (!span)
      return this.hint(
        t("It cannot be told where this stands in the text as it was written: mark it there, under “As written”"),
      );
    const same = ({ position, start, end }) => position === name && start === span.start && end === span.end;
    this.last = { note: "", ...this.spans.find(same), position: name, ...span, label };
    this.spans = [...this.spans.filter((other) => !same(other)), this.last];
    document.getSelection().removeAllRanges();
    this.#changed(t("Marked: {label}", { label: this.labels[label] }));
    this.bar.done(this.labels[label], this.last.note, this.range);
  }

  /** Where all of a response is selected, what is copied is its source: of tables and formulas nothing else says what they are. */
  copy(event) {
    const selection = document.getSelection();
    const found = selection.rangeCount && !selection.isCollapsed && selectedPassage(selection.getRangeAt(0));
    if (!found) return;
    const { start, end } = trimmed(found.whole, { start: 0, end: found.whole.length });
    if (found.passage.start > start || found.passage.end < end) return;
    event.clipboardData.setData("text/plain", this.texts[found.text.closest("[data-response]").dataset.response]);
    event.preventDefault();
    this.hint(t("Copied as it was written"));
  }

  /** Write a note on what was marked last; says why not, where there is no mark. */
  note() {
    this.last = this.spans.includes(this.last) ? this.last : this.spans.at(-1);
    if (!this.last)
      return this.hint(t("There is no mark to write a note on: select text of a response and press a digit"));
    this.bar.write(this.labels[this.last.label], this.last.note, this.range);
  }

  #note(note) {
    const noted = { ...this.last, note };
    this.spans = this.spans.map((span) => (span === this.last ? noted : span));
    this.last = noted;
    this.#changed(note ? t("Noted") : t("No note"));
  }

  #remove(span) {
    this.spans = this.spans.filter((other) => other !== span);
    this.#changed(t("Mark removed"));
  }

  #changed(words) {
    this.#show();
    this.work.changed();
    this.announce(words);
  }

  #show() {
    this.root.querySelector("[name=spans]").value = this.spans.length ? JSON.stringify(this.spans) : "";
    for (const list of this.root.querySelectorAll("[data-marks]")) {
      const mine = this.spans.filter((span) => span.position === list.dataset.marks);
      list.replaceChildren(...mine.map((span) => this.#item(span)));
      list.closest("details").querySelector("[data-marks-count]").textContent = mine.length || t("none");
    }
    this.paint();
  }

  /** Paint every marked passage in the texts that are on the page now. */
  paint() {
    if (!CSS.highlights) return;
    this.#unpaint();
    for (const article of this.root.querySelectorAll("[data-response]")) {
      const name = article.dataset.response;
      const mine = this.spans.filter((span) => span.position === name);
      const shown = mine.length ? article.querySelectorAll(TEXTS) : [];
      for (const text of shown) for (const span of mine) this.#paint(text, span);
    }
  }

  #paint(text, span) {
    const nodes = textNodes(text);
    const whole = nodes.map((node) => node.data).join("");
    const found = locate(this.texts[span.position], span, whole);
    if (!found) return;
    const name = PAINTS[span.label] ?? PAINTS.other;
    if (!CSS.highlights.has(name)) CSS.highlights.set(name, new Highlight());
    CSS.highlights.get(name).add(rangeOf(nodes, found));
  }

  #unpaint() {
    for (const name of Object.values(PAINTS)) CSS.highlights?.delete(name);
  }

  /** Another item comes: take the paint and the bar away. */
  close() {
    this.#unpaint();
    this.bar.close();
  }

  #item(span) {
    const quote = excerpt(this.texts[span.position], span);
    const item = make("li", { className: "marked" });
    const remove = make("button", { type: "button", className: "icon-button", textContent: "×" });
    remove.setAttribute("aria-label", t("Remove the mark on “{quote}”", { quote: quote.slice(0, 40) }));
    remove.addEventListener("click", () => this.#remove(span));
    const words = `${this.labels[span.label] ?? span.label}${span.note ? `: ${span.note}` : ""}`;
    item.append(make("mark", { dir: "auto", textContent: quote }), ` ${words} `, remove);
    return item;
  }
}
