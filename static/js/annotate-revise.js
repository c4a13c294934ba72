// Ask the model to revise the chosen response: the feedback goes out, the text comes piece by piece in the place of the text that it
// is about, with what it changes there; Enter takes it, Esc goes back to what was there.

import { follow, stateInWords } from "./live.js";
import { t } from "./text.js";

const make = (tag, values) => Object.assign(document.createElement(tag), values);
const PAINT = 120; // milliseconds between two pictures of a text that is coming
const OPEN = ["queued", "streaming"];

export class Reviser {
  /** `editor` says which response is open, and has the place; `call` speaks to the API. */
  constructor(section, { url, editor, call, announce, hint }) {
    Object.assign(this, { section, url, editor, call, announce, hint });
    this.revisions = new Map(); // by their ids, as they were asked for
    this.now = null; // the one that is in the place of the text
    this.feedback = section.querySelector("[data-revise-feedback]");
    this.list = section.querySelector("[data-revisions]");
    this.askButton = section.querySelector("[data-revise-ask]");
    this.bar = editor.section.querySelector("[data-revision]");
    const part = (name) => this.bar.querySelector(`[data-revise-${name}]`);
    [this.state, this.acceptButton, this.adjustButton] = ["state", "accept", "adjust"].map(part);
    [this.stopButton, this.backButton] = ["stop", "back"].map(part);
    this.acceptButton.addEventListener("click", () => this.accept());
    this.adjustButton.addEventListener("click", () => this.accept(true));
    this.backButton.addEventListener("click", () => this.back());
    this.stopButton.addEventListener("click", () => this.following?.stop());
    editor.pane.addEventListener("keydown", (event) => this.#key(event));
    editor.onOpened = () => this.#opened();
    this.#restore();
  }

  async #restore() {
    try {
      const { revisions } = await this.call(this.url, { method: "GET" });
      for (const revision of revisions) this.#know(revision);
    } catch {
      this.#say(t("Earlier revisions could not be loaded."));
    }
    this.#opened();
  }

  /** Keep a revision; one that is still being written is followed. */
  #know(revision) {
    if (this.revisions.has(revision.id)) return;
    const isOpen = OPEN.includes(revision.state);
    const known = { ...revision, isWhole: !isOpen, isDecided: !isOpen };
    this.revisions.set(known.id, known);
    if (isOpen) this.#follow(known);
    return known;
  }

  /** The editor is at another response: show what there is of it, and the text that was not decided on. */
  #opened() {
    this.#list();
    const { position } = this.editor.current();
    const waiting = [...this.revisions.values()].find((each) => each.position === position && !each.isDecided);
    if (!waiting || this.now) return;
    const asks = document.activeElement === this.feedback && !this.feedback.value;
    this.#show(waiting);
    if (asks) this.editor.read();
  }

  async ask() {
    const feedback = this.feedback.value.trim();
    if (this.asking) return;
    if (this.writing) return this.#say(t("One revision at a time: the last one is still being written."));
    if (!feedback) {
      this.#say(t("Write what should change first."));
      this.feedback.focus();
      return;
    }
    const { position, text } = this.editor.current();
    // the same words about the same text, sent again after a lost answer, are the same request
    const wanted = JSON.stringify([position, feedback, text]);
    if (this.wanted !== wanted) this.key = null;
    this.wanted = wanted;
    this.key ??= crypto.randomUUID();
    this.#asks(true);
    this.#say(t("Asking"));
    try {
      const body = { position, feedback, source_text: text, request_key: this.key };
      const revision = this.#know(await this.call(this.url, { body }));
      this.key = null;
      if (revision && this.editor.current().position === position) this.#show(revision, true);
    } catch (error) {
      if (error.status) this.key = null; // refused for good: the next try is another request
      const lost = error instanceof TypeError || error.name === "TimeoutError";
      this.#say(lost ? t("The server cannot be reached: try again.") : error.message);
    } finally {
      this.#asks(false);
    }
  }

  #asks(is) {
    this.asking = is;
    this.askButton.setAttribute("aria-disabled", String(is || Boolean(this.writing)));
  }

  /** Give the place of the text to `revision`, and the focus where it was asked for. */
  #show(revision, focus = false) {
    if (this.now) this.now.isDecided = true;
    this.now = revision;
    revision.isDecided = false;
    this.editor.host(this);
    this.#paint();
    this.#say(revision.isWhole ? "" : stateInWords(revision));
    const isHere = this.editor.section.contains(document.activeElement);
    this.#list();
    if (focus && isHere) this.editor.read();
  }

  #follow(revision) {
    revision.text = "";
    this.writing = revision;
    this.#asks(this.asking);
    let text = "";
    this.following = follow(revision.generation, {
      onText: (piece) => {
        text += piece;
        // after a lost connection all of it comes again: what is there stays until there is more
        if (text.length > revision.text.length) revision.text = text;
        this.#paintSoon(revision);
      },
      onReset: () => {
        text = "";
      },
      onState: (state) => this.now === revision && this.#say(stateInWords(state)),
      onEnd: (end) => this.#ended(revision, end),
    });
  }

  #ended(revision, end) {
    Object.assign(revision, { state: end.state, text: end.text, isWhole: true });
    this.writing = null;
    this.#asks(this.asking);
    clearTimeout(this.painting);
    this.painting = null;
    this.#list();
    if (this.now !== revision) return;
    this.#say(stateInWords(end));
    if (end.text.trim()) return this.#paint(stateInWords(end));
    const words = end.error ?? t("No text was generated.");
    const had = this.editor.pane.contains(document.activeElement);
    this.#leave(revision);
    this.#say(words);
    this.announce(words);
    if (had) this.feedback.focus();
  }

  #paintSoon(revision) {
    if (this.painting || this.now !== revision) return;
    this.painting = setTimeout(() => {
      this.painting = null;
      this.#paint();
    }, PAINT);
  }

  /** Show what there is of it; at its end `state` goes before how far it is from the text. */
  async #paint(state = "") {
    const revision = this.now;
    if (!revision) return;
    const far = await this.editor.reveal(revision.text, revision.isWhole);
    if (this.now !== revision || !revision.isWhole || far === null) return;
    const words = [revision.state === "done" && far ? "" : state, far].filter(Boolean).join(". ");
    this.#say(words);
    this.announce(t("The revision stands there. {how}. Enter accepts it, Esc goes back.", { how: words }));
  }

  #key(event) {
    const { isCommand, isComposing } = globalThis.corralRead;
    if (!this.now || event.key !== "Enter" || isCommand(event) || isComposing(event)) return;
    event.preventDefault();
    if (!event.repeat) this.accept();
  }

  /** Take it into the editor, and go where Enter submits; with `adjust` go on writing in it. */
  accept(adjust = false) {
    const revision = this.now;
    if (!revision.isWhole) return this.hint(t("It is still being written: Esc goes back"));
    this.#leave(revision);
    this.editor.take(revision.text, revision.id);
    this.feedback.value = "";
    this.section.open = false;
    this.#say("");
    this.announce(t("The revision is in the editor"));
    if (adjust) this.editor.focus();
    else this.editor.leave();
  }

  /** Back to the text as it was; what is still being written is stopped. */
  back() {
    const revision = this.now;
    if (!revision.isWhole) this.following.stop();
    this.#leave(revision);
    this.#say("");
    this.section.open = true;
    this.feedback.focus();
  }

  /** Another response is chosen: it waits until this one is chosen again. */
  aside() {
    this.now = null;
    this.editor.host(null);
    this.#say("");
  }

  #leave(revision) {
    revision.isDecided = true;
    this.aside();
    this.#list();
  }

  #say(words) {
    this.state.textContent = words;
    const { now } = this;
    this.bar.hidden = !words && !now;
    this.stopButton.hidden = !now || now.isWhole;
    this.backButton.hidden = !now;
    this.acceptButton.hidden = this.adjustButton.hidden = !now?.isWhole;
  }

  /** What was written for this response before, to be looked at again. */
  #list() {
    const { position } = this.editor.current();
    const mine = [...this.revisions.values()].filter(
      (each) => each !== this.now && each.position === position && each.isWhole && each.text.trim(),
    );
    this.list.hidden = !mine.length;
    this.list.replaceChildren(...mine.reverse().map((revision) => this.#item(revision)));
  }

  #item(revision) {
    const item = make("li", { className: "revision" });
    const button = make("button", { type: "button", className: "button button--small", textContent: t("Show") });
    button.setAttribute("aria-label", t("Show the revision: {feedback}", { feedback: revision.feedback.slice(0, 60) }));
    button.addEventListener("click", () => this.#show(revision, true));
    item.append(button, make("span", { dir: "auto", textContent: revision.feedback }));
    return item;
  }

  close() {
    clearTimeout(this.painting);
    this.following?.close();
  }
}
