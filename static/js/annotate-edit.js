// The chosen response, open for editing, with what has changed so far beside it. Each response keeps its own edit.

import { call } from "./annotate-draft.js";
import { changes, shown, words } from "./word-diff.js";

const DIFF_LIMIT = 60_000;

/** How many words, and letters of scripts without spaces, are in `text`. */
const count = (text) => words(text).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;

const said = (words) => `${words.toLocaleString("en")} ${words === 1 ? "word" : "words"}`;

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
  if (!same && edited.trim() === "") return "The improved text is empty: write it, or undo all changes.";
  if (same && required) return "This batch requires an improved text: edit the response that you chose.";
  return "";
}

export class Editor {
  /** With `writes` there is no response: the answer is written, from an empty text. */
  constructor(section, { texts, edits, required, nothing, diffUrl, onChange, onTaken, writes = false }) {
    Object.assign(this, { section, texts, required, nothing, diffUrl, onChange, onTaken, writes });
    this.edits = new Map(Object.entries(edits));
    this.name = null;
    this.undone = null;
    this.area = section.querySelector("textarea");
    this.pane = section.querySelector("[data-improve-diff]");
    this.undo = section.querySelector("[data-improve-undo]");
    this.area.addEventListener("input", () => this.#changed());
    this.undo.addEventListener("click", () => this.#undoOrRedo());
    this.preview = section.querySelector("[data-improve-preview]");
    this.preview.addEventListener("click", () => {
      this.preview.setAttribute("aria-pressed", String(!this.previews));
      this.#show();
    });
    this.nothing?.addEventListener("change", () => {
      if (this.nothing.checked && this.name !== null && this.area.value !== this.original) this.#undoOrRedo();
    });
  }

  /** Open on response `name`; the edit begun on another one stays for when it is chosen again. */
  open(name) {
    if (name === this.name) return;
    this.name = name;
    this.undone = null;
    if (!this.writes) this.section.querySelector("[data-improve-name]").textContent = `response ${name}`;
    this.area.value = this.edits.get(name) ?? this.original;
    this.#unfold(true);
    this.#show();
  }

  close() {
    this.name = null;
    this.#unfold(false);
    this.area.setCustomValidity("");
  }

  /** Show or hide the editor, and leave the answers below it under the finger that chose. */
  #unfold(shown) {
    const answers = this.section.closest("form").querySelector(".scale, .ranking");
    if (!answers) {
      this.section.hidden = !shown;
      return;
    }
    const { top, bottom } = answers.getBoundingClientRect();
    this.section.hidden = !shown;
    const chosen = answers.contains(document.activeElement) && top < window.innerHeight && bottom > 0;
    if (chosen) window.scrollBy({ top: answers.getBoundingClientRect().top - top, behavior: "instant" });
  }

  get previews() {
    return this.preview.getAttribute("aria-pressed") === "true";
  }

  get original() {
    return (this.texts[this.name] ?? "").replaceAll("\r\n", "\n");
  }

  focus() {
    if (this.name === null) return false;
    this.area.focus();
    this.section.scrollIntoView({ block: "nearest" });
    return true;
  }

  /** What to submit: the edited position and text, empty where nothing was changed. */
  value() {
    if (this.name === null || this.area.value === this.original) return { position: "", text: "" };
    return { position: this.name, text: this.area.value };
  }

  problem() {
    if (this.writes) return this.area.value.trim() === "" ? "Write the answer before you submit it." : "";
    const required = this.required && !this.nothing?.checked;
    return this.name === null ? "" : editProblem(this.area.value, this.original, required);
  }

  /** The open response and its text as it stands. */
  current() {
    return { position: this.name, text: this.area.value };
  }

  /** Put the revision of response `name` into the editor; returns why not, or "". */
  take(name, text, revision, focus) {
    if (name !== this.name) return `This is a revision of response ${name}: choose that one first.`;
    this.area.value = text;
    this.onTaken(name, revision);
    this.#changed();
    if (focus) this.area.focus();
    return "";
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
    this.area.focus();
  }

  #show() {
    const text = this.area.value;
    const changed = text !== this.original;
    this.undo.hidden = !changed && this.undone === null;
    const [away, back] = this.writes ? ["Clear", "Restore my text"] : ["Undo all changes", "Restore my changes"];
    this.undo.textContent = this.undone === null ? away : back;
    this.area.setCustomValidity("");
    clearTimeout(this.timer);
    this.pane.setAttribute("aria-label", this.previews ? "Preview" : "Changes");
    this.pane.classList.toggle("markup", this.previews);
    if (this.writes) {
      this.pane.hidden = !this.previews;
      this.section.querySelector("[data-improve-size]").textContent = said(count(text));
    }
    if (this.previews) {
      this.timer = setTimeout(() => this.#render(text), 200);
    } else if (this.writes) {
      this.pane.textContent = "";
    } else if (!changed) {
      this.pane.textContent = "No changes yet.";
      this.section.querySelector("[data-improve-size]").textContent = "";
    } else {
      this.timer = setTimeout(() => this.#compare(text), text.length > 5000 ? 400 : 60);
    }
  }

  /** The text as it will be read; the server renders it, and makes it safe, as it does every response. */
  #render(text) {
    const shown = { target: this.pane, values: { text } }; // swaps the inside, as htmx does where nothing is said
    globalThis.htmx.ajax("POST", "/preview", shown).catch(() => {
      this.pane.textContent = "The preview is not available now.";
    });
  }

  async #compare(text) {
    const original = this.original;
    if (text.length + original.length > 2 * DIFF_LIMIT) {
      this.pane.textContent = "This text is too long to show its changes while you type.";
      return;
    }
    const diff = await loadDiff(this.diffUrl).catch(() => null);
    const parts = diff && changes(diff, original, text, 400);
    if (text !== this.area.value || this.previews) return;
    if (!parts) {
      this.pane.textContent = "Changes cannot be shown.";
      return;
    }
    this.pane.replaceChildren(...shown(parts));
    const changed = parts.filter((part) => !part.same);
    const added = changed.reduce((sum, part) => sum + count(part.after), 0);
    const removed = changed.reduce((sum, part) => sum + count(part.before), 0);
    const share = Math.round((100 * (added + removed)) / Math.max(1, count(original) + added));
    const size = this.section.querySelector("[data-improve-size]");
    size.textContent = `+${added} −${removed} words, ${share}%`;
    size.title = "Words added and removed, as a share of the words of the response and those added";
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
    const onUsed = (adjust) => {
      work.changed();
      if (!adjust) work.focusChoice(); // from where Enter submits
    };
    work.reviser ??= new Reviser(section, { url, editor, call, announce: work.announce, onUsed });
    return work.reviser;
  };
  section.addEventListener("toggle", () => section.open && use());
  if (section.open) use();
  section.querySelector("[data-revise-ask]").addEventListener("click", async () => (await use()).ask());
  section.querySelector("[data-revise-feedback]").addEventListener("keydown", async (event) => {
    if (!globalThis.corralRead.isSend(event)) return;
    event.preventDefault(); // here it asks; anywhere else it submits
    (await use()).ask();
  });
}
