// Ask the model to revise the chosen response: the feedback goes out, the text comes piece by piece, and one click takes it.

import { follow, stateInWords } from "./live.js";

const make = (tag, values) => Object.assign(document.createElement(tag), values);

export class Reviser {
  /** `editor` says which response is open and takes a text; `call` speaks to the API; `known` are earlier revisions. */
  constructor(section, { url, editor, call, announce, onUsed }) {
    Object.assign(this, { section, url, editor, call, announce, onUsed });
    this.feedback = section.querySelector("[data-revise-feedback]");
    this.list = section.querySelector("[data-revisions]");
    this.state = section.querySelector("[data-revise-state]");
    this.askButton = section.querySelector("[data-revise-ask]");
    this.stopButton = section.querySelector("[data-revise-stop]");
    this.stopButton.addEventListener("click", () => this.following?.stop());
    this.#restore();
  }

  async #restore() {
    try {
      const { revisions } = await this.call(this.url, { method: "GET" });
      for (const revision of revisions) this.#show(revision);
      if (revisions.length) this.section.open = true;
    } catch {
      this.state.textContent = "Earlier revisions could not be loaded.";
    }
  }

  async ask() {
    const feedback = this.feedback.value.trim();
    if (this.askButton.disabled) return;
    if (!feedback) {
      this.state.textContent = "Write what should change first.";
      this.feedback.focus();
      return;
    }
    this.askButton.disabled = true;
    this.state.textContent = "Asking";
    const { position, text } = this.editor.current();
    // the same words about the same text, sent again after a lost answer, are the same request
    const wanted = JSON.stringify([position, feedback, text]);
    if (this.wanted !== wanted) this.key = null;
    this.wanted = wanted;
    this.key ??= crypto.randomUUID();
    try {
      const body = { position, feedback, source_text: text, request_key: this.key };
      const revision = await this.call(this.url, { body });
      this.key = null;
      this.#show(revision);
    } catch (error) {
      if (error.status) this.key = null; // refused for good: the next try is another request
      const lost = error instanceof TypeError || error.name === "TimeoutError";
      this.state.textContent = lost ? "The server cannot be reached: try again." : error.message;
      this.askButton.disabled = false;
    }
  }

  #show(revision) {
    if (this.list.querySelector(`[data-revision="${revision.id}"]`)) return;
    const item = make("li", { className: "revision" });
    item.dataset.revision = revision.id;
    const about = make("p", {
      className: "small soft",
      dir: "auto",
      textContent: `${revision.position}: ${revision.feedback}`,
    });
    const text = make("div", { className: "revision__text", dir: "auto", textContent: revision.text });
    item.append(about, text);
    this.list.prepend(item);
    const isOpen = revision.state === "queued" || revision.state === "streaming";
    if (isOpen) this.#follow(item, text, revision);
    else this.#finished(item, revision, revision.text);
  }

  #follow(item, text, revision) {
    text.textContent = "";
    this.stopButton.hidden = false;
    this.askButton.disabled = true; // one at a time: the button beside it stops this one
    this.following = follow(revision.generation, {
      onText: (piece) => text.append(piece),
      onReset: () => text.replaceChildren(),
      onState: (state) => {
        this.state.textContent = stateInWords(state);
      },
      onEnd: (end) => {
        text.textContent = end.text;
        this.stopButton.hidden = true;
        this.askButton.disabled = false;
        this.state.textContent = stateInWords(end);
        this.announce(end.error ?? "The revision is complete.");
        this.#finished(item, { ...revision, state: end.state }, end.text);
      },
    });
  }

  #finished(item, revision, text) {
    const again = make("button", { type: "button", className: "button button--small", textContent: "Try again" });
    again.addEventListener("click", () => {
      this.feedback.value = revision.feedback;
      this.feedback.focus();
    });
    const buttons = make("div", { className: "toolbar" });
    if (!text.trim()) {
      buttons.append(make("span", { className: "small soft", textContent: "No text was generated." }), again);
      item.append(buttons);
      return;
    }
    const use = (label, focus) => {
      const button = make("button", { type: "button", className: "button button--small", textContent: label });
      button.addEventListener("click", () => {
        const problem = this.editor.take(revision.position, text, revision.id, focus);
        this.state.textContent = problem || "The revision is in the editor.";
        if (!problem) this.onUsed(focus);
      });
      return button;
    };
    buttons.append(use("Accept", false), use("Adjust", true), again);
    item.append(buttons);
  }

  close() {
    this.following?.close();
  }
}
