// Passages that an annotator marks: "this sentence is false". Chosen by selecting text, with the mouse or with Shift and arrows.

import { characters, excerpt, locate, passage, unitIn } from "./annotate-passages.js";

// painted in the text itself by name, without a change to the document; browsers that do not know it still have the list
const PAINTS = { good: "marked-good", other: "marked" };

const make = (tag, values) => Object.assign(document.createElement(tag), values);

/** The text of `element`, without what scripts put there. */
function textNodes(element) {
  const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walk.nextNode()) if (!walk.currentNode.parentElement.closest("button")) nodes.push(walk.currentNode);
  return nodes;
}

/** The range from unit `start` to `end` of all `nodes` together. */
function rangeOf(nodes, { start, end }) {
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

export class Marks {
  constructor(root, { texts, spans, announce, onChange }) {
    Object.assign(this, { root, texts, announce, onChange });
    this.spans = spans;
    this.dialog = document.querySelector("#mark");
    const { response, text, form } = this.#parts();
    response.replaceChildren(...Object.keys(texts).map((name) => make("option", { textContent: name })));
    response.onchange = () => {
      text.value = texts[response.value];
    };
    text.onbeforeinput = (event) => event.preventDefault(); // a caret that moves needs a field that is not read-only
    form.onsubmit = (event) => {
      if (event.submitter?.value === "yes" && !this.#add()) event.preventDefault();
    };
    this.#show();
  }

  #parts() {
    const one = (name) => this.dialog.querySelector(`[data-mark-${name}]`);
    return {
      form: this.dialog.querySelector("form"),
      response: one("response"),
      text: one("text"),
      label: one("label"),
      note: one("note"),
      problem: one("problem"),
    };
  }

  /** Open the dialog, with what is selected on the page selected in it. */
  open() {
    const selection = document.getSelection();
    const quote = selection.toString().trim();
    const name = selection.anchorNode?.parentElement?.closest("[data-response]")?.dataset.response;
    const { response, text, note, problem } = this.#parts();
    response.value = name ?? Object.keys(this.texts)[0];
    text.value = this.texts[response.value];
    note.value = "";
    problem.textContent = "";
    this.dialog.showModal();
    text.focus();
    const at = quote ? passage(this.texts[response.value], quote) : null;
    if (at) {
      const start = this.texts[response.value].indexOf(quote);
      text.setSelectionRange(start, start + quote.length);
    } else if (quote) {
      problem.textContent = "The selected text does not occur exactly once in the raw text: select it here.";
    }
  }

  #add() {
    const { response, text, label, note, problem } = this.#parts();
    const { selectionStart: from, selectionEnd: to } = text;
    if (from === to) {
      problem.textContent = "Select the passage in the text first, with the mouse or with Shift and the arrows.";
      text.focus();
      return false;
    }
    const sampled = this.texts[response.value];
    const [first, last] = [unitIn(sampled, from), unitIn(sampled, to)];
    const start = characters(sampled.slice(0, first));
    const end = start + characters(sampled.slice(first, last));
    this.spans = [...this.spans, { position: response.value, start, end, label: label.value, note: note.value.trim() }];
    this.#changed("Marked");
    return true;
  }

  #changed(words) {
    this.#show();
    this.onChange();
    this.announce(words);
  }

  #show() {
    this.root.querySelector("[name=spans]").value = this.spans.length ? JSON.stringify(this.spans) : "";
    const labels = Object.fromEntries([...this.#parts().label.options].map((each) => [each.value, each.textContent]));
    for (const list of this.root.querySelectorAll("[data-marks]")) {
      const mine = this.spans.filter((span) => span.position === list.dataset.marks);
      list.replaceChildren(...mine.map((span) => this.#item(span, labels)));
    }
    this.paint();
  }

  /** Paint every marked passage in the texts that are on the page now. */
  paint() {
    if (!CSS.highlights) return;
    this.close();
    for (const article of this.root.querySelectorAll("[data-response]")) {
      const name = article.dataset.response;
      const mine = this.spans.filter((span) => span.position === name);
      const shown = mine.length ? article.querySelectorAll(".response__text, .response__raw") : [];
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

  /** Take the paint away. */
  close() {
    for (const name of Object.values(PAINTS)) CSS.highlights?.delete(name);
  }

  #item(span, labels) {
    const quote = excerpt(this.texts[span.position], span);
    const item = make("li", { className: "marked" });
    const remove = make("button", { type: "button", className: "icon-button", textContent: "×" });
    remove.setAttribute("aria-label", `Remove the mark on “${quote.slice(0, 40)}”`);
    remove.addEventListener("click", () => {
      this.spans = this.spans.filter((other) => other !== span);
      this.#changed("Mark removed");
    });
    const words = `${labels[span.label] ?? span.label}${span.note ? `: ${span.note}` : ""}`;
    item.append(make("mark", { dir: "auto", textContent: quote }), ` ${words} `, remove);
    return item;
  }
}
