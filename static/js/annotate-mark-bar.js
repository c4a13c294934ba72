// What selected text can be marked as, beside it and over the page: it moves nothing. Then a note, for those who want one.

const GAP = 8;

export class MarkBar {
  constructor(bar, { keys, onLabel, onNote, onRemove }) {
    Object.assign(this, { bar, onNote });
    const part = (name) => bar.querySelector(`[data-mark-${name}]`);
    [this.labels, this.noted, this.said, this.field] = [part("labels"), part("noted"), part("said"), part("note")];
    for (const shown of bar.querySelectorAll("[data-key]")) shown.textContent = keys[shown.dataset.key];
    // one bar for every item: the last item that uses it is the one it tells
    bar.onpointerdown = (event) => {
      this.pressed = true; // a finger takes the selection away before it has tapped
      if (event.target !== this.field) event.preventDefault();
    };
    bar.onclick = ({ target }) => {
      this.pressed = false;
      const button = target.closest("button");
      if (!button) return;
      if (button.dataset.markAs) onLabel(button.dataset.markAs);
      else if (button.matches("[data-mark-remove]")) {
        this.close();
        onRemove();
      }
    };
    this.field.onkeydown = (event) => this.#key(event);
    // not "change": it does not come for text that the keys put there, which were pressed before the field was open
    this.field.onblur = () => this.#note();
    this.follow = () => this.#place();
    this.away = (event) => {
      if (!bar.hidden && !bar.contains(event.target)) this.#leave(event, keys);
    };
  }

  offer(range) {
    this.#open(range, false);
  }

  /** Nothing is selected any more. */
  withdraw() {
    if (!this.pressed && this.noted.hidden) this.close();
  }

  done(label, note, range) {
    this.said.textContent = label;
    this.field.value = this.was = note;
    this.#open(range, true);
  }

  write(label, note, range) {
    if (this.bar.hidden) this.done(label, note, range);
    this.before = document.activeElement;
    this.field.focus();
  }

  close() {
    this.bar.hidden = true;
    this.pressed = false;
    for (const kind of ["keydown", "pointerdown"]) document.removeEventListener(kind, this.away, true);
    for (const kind of ["resize", "scroll"]) window.removeEventListener(kind, this.follow);
  }

  #open(range, isDone) {
    this.labels.hidden = isDone;
    this.noted.hidden = !isDone;
    this.bar.hidden = false;
    for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, this.away, true);
    for (const kind of ["resize", "scroll"]) window.addEventListener(kind, this.follow, { passive: true });
    this.range = range;
    this.#place();
  }

  /** Under the passage, or over it where there is no room; never beyond the window. */
  #place() {
    const { range } = this;
    const { offsetWidth: width, offsetHeight: height } = this.bar;
    const box = range?.startContainer.isConnected ? range.getBoundingClientRect() : null;
    const top =
      !box || box.bottom + GAP + height > innerHeight ? (box?.top ?? innerHeight) - GAP - height : box.bottom + GAP;
    const left = box ? Math.min(box.left, innerWidth - width - GAP) : (innerWidth - width) / 2;
    this.bar.style.top = `${Math.min(Math.max(GAP, top), innerHeight - height - GAP)}px`;
    this.bar.style.left = `${Math.max(GAP, left)}px`;
  }

  /** After a mark the next thing that is done takes the bar away, unless it goes there. */
  #leave(event, keys) {
    if (event.defaultPrevented) return; // it is kept for what is opening
    if (this.noted.hidden) {
      if (event.key === "Escape") document.getSelection().removeAllRanges();
      return;
    }
    const isKey = event.type === "keydown";
    const { isText, meaning } = globalThis.corralRead;
    if (isKey && (!isText(event) || meaning(event, (key) => key === keys.note))) return;
    this.close();
  }

  #note() {
    const note = this.field.value.trim();
    if (note === this.was) return;
    this.was = note;
    this.onNote(note);
  }

  #key(event) {
    if (globalThis.corralRead.isComposing(event)) return;
    if (event.key !== "Enter" && event.key !== "Escape") return;
    if (event.key === "Escape") this.field.value = this.was;
    const isSend = event.ctrlKey || event.metaKey; // the judgement, with the note
    if (!isSend) {
      event.preventDefault();
      event.stopPropagation();
    }
    this.field.blur(); // what was written counts from here
    if (!isSend && this.before?.isConnected) this.before.focus();
    this.close();
  }
}
