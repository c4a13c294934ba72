// The chosen response as its own editor: in its card, in the place of its text, so that nothing else moves. Each response keeps
// its own edit. What changed, how it will be read, and a revision by the model are shown in the same place.

import { call } from "./annotate-draft.js";
import { count, distance, said } from "./annotate-distance.js";
import { t } from "./text.js";
import { changes, shown, words } from "./word-diff.js";

const DIFF_LIMIT = 60_000;
const AHEAD = 12; // words of the text before that a revision on its way is compared with, beyond its own number
const NAMES = { write: t("Changes"), changes: t("Changes"), preview: t("Preview"), revision: t("Revision") };

let diffScript = null;

/** The library that compares texts; it is large, and not every item needs it. */
export function loadDiff(url) {
  diffScript ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.addEventListener("load", () => resolve(globalThis.Diff));
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return diffScript;
}

/** Why the page cannot submit `edited` in place of `original`, or "" when it can. Unchanged text is no edit. */
export function editProblem(edited, original, required) {
  const same = edited === original.replaceAll("\r\n", "\n");
  if (!same && edited.trim() === "") return t("The improved text is empty: write it, or undo all changes.");
  if (same && required) return t("This batch requires an improved text: edit the response that you chose.");
  return "";
}

export class Editor {
  /**
   * Told: the `texts` of the responses and the `edits` that were begun, by name; whether an edit is `required`; the box that says
   * `nothing`; `diffUrl`; what hears of it (`onChange`, `onTaken`); `show` brings a response into sight, `leave` takes the focus
   * back to the choice, `hint` says why nothing happens. With `writes` there is no response: the answer is written.
   */
  constructor(section, { edits, ...told }) {
    Object.assign(this, { section, writes: false, ...told });
    this.edits = new Map(Object.entries(edits));
    this.form = section.closest("form");
    this.name = null;
    this.undone = null;
    this.guest = null; // a revision that stands in the place of the text
    this.area = section.querySelector("textarea");
    const part = (name) => section.querySelector(`[data-improve-${name}]`);
    [this.pane, this.undo, this.preview, this.size] = ["diff", "undo", "preview", "size"].map(part);
    [this.changes, this.opener] = [part("changes"), part("open")];
    this.area.addEventListener("input", () => this.#changed());
    this.undo.addEventListener("click", () => this.#undoOrRedo());
    this.preview.addEventListener("click", () => this.toggle("preview"));
    this.changes?.addEventListener("click", () => this.toggle("changes"));
    this.opener?.addEventListener("click", () => this.improve());
    section.addEventListener("keydown", (event) => this.#key(event));
    this.nothing?.addEventListener("change", () => {
      if (!this.nothing.checked || this.name === null) return;
      if (this.guest) {
        this.nothing.checked = false;
        return this.#occupied();
      }
      this.undone = null;
      if (this.area.value !== this.original) this.#undoOrRedo();
      this.turn("write");
      this.#unfold(false);
    });
  }

  /** Offer response `name` for editing, or go on with the edit that it has; one begun on another response stays. */
  open(name) {
    if (name === this.name) return;
    this.#still(() => {
      this.#leaveCard();
      this.name = name;
      this.undone = null;
      this.area.value = this.edits.get(name) ?? this.original;
      if (!this.writes) {
        this.section.querySelector("[data-improve-name]").textContent = t("Improve response {name}", { name });
        this.card.querySelector(".response__text").before(this.section);
      }
      this.section.hidden = false;
      this.#unfold(this.writes || this.edits.has(name));
    });
    this.turn("write");
    this.#showKept();
    this.onOpened?.();
  }

  close() {
    if (this.name !== null)
      this.#still(() => {
        this.#leaveCard();
        this.name = null;
        this.section.hidden = true;
      });
    this.#showKept();
    this.area.setCustomValidity("");
  }

  #leaveCard() {
    this.guest?.aside();
    if (this.name !== null) this.#unfold(false);
  }

  /** Do what may change the height of a card, and leave the answers below it under the finger that chose. */
  #still(act) {
    const answers = this.form.querySelector(".scale, .ranking");
    if (!answers) return act();
    const { top, bottom } = answers.getBoundingClientRect();
    act();
    const chosen = answers.contains(document.activeElement) && top < window.innerHeight && bottom > 0;
    if (chosen) window.scrollBy({ top: answers.getBoundingClientRect().top - top, behavior: "instant" });
  }

  get card() {
    return this.form.querySelector(`[data-response="${this.name}"]`);
  }

  get isOpen() {
    return this.section.hasAttribute("data-open");
  }

  /** Put the editor in the place of the text, as high as that at least, or the text back. */
  #unfold(isOpen) {
    if (!this.writes) {
      if (isOpen && !this.isOpen) {
        this.area.setSelectionRange(0, 0); // the text stays where it is read
        const texts = [...this.card.querySelectorAll(":scope > :is(.response__text, .response__raw)")];
        this.section.style.setProperty("--was", `${Math.max(...texts.map((each) => each.offsetHeight))}px`);
      }
      this.card.toggleAttribute("data-editing", isOpen);
      this.opener.setAttribute("aria-expanded", String(isOpen));
    }
    this.section.toggleAttribute("data-open", isOpen);
  }

  /** Say on each card that is not chosen whether an edit of it is kept. */
  #showKept() {
    for (const card of this.form.querySelectorAll("[data-response]")) {
      const name = card.dataset.response;
      const words = this.edits.has(name) && name !== this.name ? t("your edit is kept") : "";
      let kept = card.querySelector("[data-edit-kept]");
      if (!words && !kept) continue;
      if (!kept) {
        kept = Object.assign(document.createElement("span"), { className: "response__kept small soft" });
        kept.dataset.editKept = "";
        card.querySelector(".response__name").append(kept);
      }
      kept.textContent = words;
    }
  }

  get original() {
    return (this.texts[this.name] ?? "").replaceAll("\r\n", "\n");
  }

  /** Go on with the text: edit it, or the revision that stands in its place. Returns whether there is one. */
  improve() {
    if (!this.guest) return this.focus();
    this.guest.accept(true);
    return true;
  }

  focus() {
    if (this.name === null) return false;
    this.show(this.name);
    if (!this.isOpen) this.#unfold(true);
    if (!this.guest) this.turn("write");
    if (this.guest) return this.read();
    const { top, bottom } = this.section.getBoundingClientRect();
    this.area.focus({ preventScroll: top < window.innerHeight && bottom > 0 });
    return true;
  }

  /** Go to what stands in the place of the text, and bring it into sight where it is not. */
  read() {
    this.pane.focus({ preventScroll: true });
    this.pane.scrollIntoView({ block: "nearest", behavior: "instant" });
    return true;
  }

  /** Go to the words for the model, below the text. */
  askModel() {
    this.show(this.name);
    if (!this.isOpen) this.#unfold(true);
    this.section.querySelector("[data-revise]").open = true;
    this.section.querySelector("[data-revise-feedback]").focus();
  }

  /** What to submit: the edited position and text, empty where nothing was changed. */
  value() {
    if (this.name === null || this.area.value === this.original) return { position: "", text: "" };
    return { position: this.name, text: this.area.value };
  }

  problem() {
    if (this.writes) return this.area.value.trim() === "" ? t("Write the answer before you submit it.") : "";
    if (this.guest)
      return t("A revision stands there that is not decided: Enter accepts it, Esc goes back to your text.");
    const required = this.required && !this.nothing?.checked;
    return this.name === null ? "" : editProblem(this.area.value, this.original, required);
  }

  /** The open response and its text as it stands. */
  current() {
    return { position: this.name, text: this.area.value };
  }

  /** Put the `text` of a revision into the editor; what stood there can be had back. */
  take(text, revision) {
    const before = this.area.value;
    this.area.value = text;
    this.onTaken(this.name, revision);
    this.#changed();
    if (before === this.original || before === text) return;
    this.undone = before;
    this.#showUndo();
  }

  /** Give the place of the text to a revision, `guest`, which says itself what is done with it; null takes it back. */
  host(guest) {
    this.guest = guest;
    if (guest && !this.isOpen) this.#unfold(true);
    if (guest) this.pane.dataset.ownKeys = "";
    else delete this.pane.dataset.ownKeys;
    this.turn(guest ? "revision" : "write");
  }

  /** Show `text` in the place of the text, with what it changes there; resolves to how far it is from it, null if it is gone. */
  async reveal(text, isWhole) {
    this.revealed = text;
    const before = this.area.value;
    const far = words(text).length + AHEAD;
    const part = isWhole ? before : words(before).slice(0, far).join("");
    const parts = await this.#parts(part, text, isWhole ? 400 : 100);
    if (this.mode !== "revision" || this.revealed !== text) return null;
    // what is not written yet is not taken away
    if (parts && !isWhole && !parts.at(-1)?.same) parts.at(-1).before = "";
    this.pane.setAttribute("aria-busy", String(!isWhole));
    this.pane.replaceChildren(...(parts ? shown(parts) : [text]));
    return parts && isWhole ? distance(parts) || t("Nothing changed") : "";
  }

  /** What stands in the place of the text: "write", "changes", "preview" or "revision". */
  turn(mode) {
    this.mode = mode;
    this.section.dataset.mode = mode;
    this.preview.setAttribute("aria-pressed", String(mode === "preview"));
    this.changes?.setAttribute("aria-pressed", String(mode === "changes"));
    this.pane.hidden = mode === "write";
    this.pane.removeAttribute("aria-busy");
    this.pane.setAttribute("aria-label", NAMES[mode]);
    this.pane.classList.toggle("markup", mode === "preview");
    if (mode === "write") this.pane.textContent = "";
    this.#show();
  }

  toggle(mode) {
    if (this.guest) return this.#occupied();
    if (!this.isOpen) this.#unfold(true);
    this.turn(this.mode === mode ? "write" : mode);
  }

  #occupied() {
    this.hint(t("A revision stands there: Enter accepts it, Esc goes back"));
  }

  #key(event) {
    if (event.key !== "Escape" || globalThis.corralRead.isComposing(event)) return;
    if (this.escape()) event.preventDefault();
  }

  /** Where the focus is here, go back by one: from what is shown to the text, from the text to the choice. Returns whether. */
  escape() {
    if (this.writes || !this.section.contains(document.activeElement)) return false;
    if (this.guest) this.guest.back();
    else if (this.mode !== "write") {
      this.turn("write");
      this.area.focus();
    } else {
      if (this.area.value === this.original && this.undone === null) this.#unfold(false);
      this.leave();
    }
    return true;
  }

  #changed() {
    if (this.area.value === this.original) this.edits.delete(this.name);
    else {
      this.edits.set(this.name, this.area.value);
      this.undone = null;
      if (this.nothing) this.nothing.checked = false; // an improvement says that there was something
    }
    this.#show();
    this.onChange();
  }

  #undoOrRedo() {
    const before = this.area.value;
    this.area.value = this.undone ?? this.original;
    const redo = this.undone === null ? before : null;
    this.#changed();
    this.undone = redo;
    this.#show();
    if (!this.nothing?.checked) this.area.focus();
  }

  #showUndo() {
    const isChanged = this.area.value !== this.original;
    this.section.toggleAttribute("data-changed", isChanged);
    this.undo.hidden = !isChanged && this.undone === null;
    const isUndone = this.undone !== null;
    if (this.writes) this.undo.textContent = isUndone ? t("Restore my text") : t("Clear");
    else this.undo.textContent = isUndone ? t("Restore my changes") : t("Undo all changes");
  }

  #show() {
    const text = this.area.value;
    this.#showUndo();
    this.area.setCustomValidity("");
    clearTimeout(this.timer);
    if (this.writes) this.size.textContent = said(count(text));
    else if (text === this.original) {
      this.size.textContent = "";
      if (this.mode === "changes") this.pane.textContent = t("No changes yet.");
    } else this.timer = setTimeout(() => this.#compare(text), text.length > 5000 ? 400 : 60);
    if (this.mode === "preview") this.timer = setTimeout(() => this.#render(text), 200);
  }

  /** The text as it will be read; the server renders it, and makes it safe, as it does every response. */
  async #render(text) {
    const place = { target: this.pane, values: { text } }; // swaps the inside, as htmx does where nothing is said
    try {
      await globalThis.htmx.ajax("POST", "/preview", place);
      (await import("./base.js")).reachable(this.pane);
    } catch {
      this.pane.textContent = t("The preview is not available now.");
    }
  }

  /** The passages of two texts, or null where they cannot be told in `timeout` milliseconds. */
  async #parts(before, after, timeout) {
    if (before.length + after.length > 2 * DIFF_LIMIT) return null;
    const diff = await loadDiff(this.diffUrl).catch(() => null);
    return diff && changes(diff, before, after, timeout);
  }

  async #compare(text) {
    const parts = await this.#parts(this.original, text, 400);
    if (text !== this.area.value) return;
    this.size.textContent = parts ? distance(parts) : "";
    if (this.mode !== "changes") return;
    if (parts) this.pane.replaceChildren(...shown(parts));
    else this.pane.textContent = t("These texts are too long or too different to show what changed.");
  }
}

/** The editor of `work`'s item, and beside it the model that can be asked for a revision. */
export function editorOf(work) {
  const editor = new Editor(work.improve, {
    texts: work.texts,
    edits: work.edits,
    required: work.root.dataset.edit === "required",
    nothing: work.fields.nothing_to_improve,
    diffUrl: work.root.dataset.diff,
    writes: work.writes,
    hint: work.hint,
    show: (name) => work.view?.layoutNow === "single" && work.view.show(name),
    leave: () => work.focusChoice(),
    onChange: () => work.changed(),
    onTaken: (name, revision) => {
      work.revisions = { ...work.revisions, [name]: revision };
    },
  });
  if (!work.writes) reviseWhenAsked(work, editor);
  return editor;
}

/** The model is asked seldom, so what asks it comes when its section is used; what was pressed before that still counts. */
function reviseWhenAsked(work, editor) {
  const section = work.improve.querySelector("[data-revise]");
  const use = async () => {
    const { Reviser } = await import("./annotate-revise.js");
    const url = `${work.api}/revisions`;
    work.reviser ??= new Reviser(section, { url, editor, call, announce: work.announce, hint: work.hint });
    return work.reviser;
  };
  section.addEventListener("toggle", () => section.open && use());
  if (section.open) use();
  section.querySelector("[data-revise-ask]").addEventListener("click", async () => (await use()).ask());
  section.querySelector("[data-revise-feedback]").addEventListener("keydown", async (event) => {
    const { isCommand, isComposing, isSend } = globalThis.corralRead;
    const isPlain = event.key === "Enter" && !event.shiftKey && !isCommand(event) && !isComposing(event);
    if (!isPlain && !isSend(event)) return;
    event.preventDefault(); // here it asks; anywhere else it submits
    if (!event.repeat) (await use()).ask();
  });
}
