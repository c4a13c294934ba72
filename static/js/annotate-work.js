// The item on the annotation page: its form, what is drafted and submitted of it, and the parts that come when they are used.

import {
  ActiveClock,
  backoff,
  call,
  detailsOf,
  judged,
  Lease,
  Mirror,
  preferred,
  SAID,
  Saver,
  unchosen,
} from "./annotate-draft.js";
import { announce, clearNotice, hint, notice } from "./base.js";
import { t } from "./text.js";

/** The fields that go beside the judgement: which item, lease and draft it belongs to. */
const ENVELOPE = ["fencing_token", "key", "draft_version", "corrects"];

export class Work {
  constructor(root) {
    this.root = root;
    this.form = root.querySelector("#judge");
    this.fields = this.form.elements;
    this.api = `/api/v1/assignments/${root.dataset.assignment}`;
    const { texts, draft, keys, words } = JSON.parse(root.querySelector("[data-work]").textContent);
    Object.assign(this, { announce, hint, texts, keys, words, tries: 0, saveState: "idle" });
    this.corrects = Number(this.fields.corrects?.value) || undefined;
    this.shown = Number(root.dataset.shown);
    this.writes = root.dataset.task === "write";
    this.labels = root.dataset.task === "steps";
    this.clock = new ActiveClock(draft?.active_seconds ?? 0);
    this.lease = new Lease(Number(root.dataset.lease), Date.now());
    this.unsent = new Set(); // forms that were sent and did not arrive
    this.saver = new Saver({
      version: Number(root.dataset.version),
      save: (draft, version) =>
        call(`${this.api}/draft`, { method: "PUT", body: { version, draft, corrects: this.corrects } }),
      onState: (state) => this.#showSaved(state),
      onSaved: () => {
        this.clear("draft");
        // a page that is loaded again may have been drawn before this was stored: it finds the text here
        if (this.saver.pending === null && !this.leaving) this.mirror.clear();
      },
      onRefused: (refused) => this.#draftRefused(refused),
    });
    this.mirror = new Mirror(`${root.dataset.user}:${root.dataset.assignment}`);
    const left = this.mirror.left(draft);
    if (!navigator.onLine) this.#showSaved();
    this.#load(this.#start(draft));
    // a submit waits for it: what is on the page is not all there is
    if (left) this.#load(import("./annotate-refused.js").then(({ bringBack }) => bringBack(this, left)));
  }

  async #start(draft) {
    const { edits = {}, revisions = {}, spans = [] } = draft ?? {};
    Object.assign(this, { edits, revisions, spans });
    this.improve = this.root.querySelector("[data-improve]");
    if (this.improve) {
      this.improve.hidden = !this.writes;
      this.improve.querySelector("textarea").removeAttribute("name"); // the editor says when it changes
    }
    this.isRated = this.form.querySelector(".rating") !== null;
    if (this.shown > 2 || this.isRated || this.labels) {
      const { loadParts } = await import("./annotate-parts.js");
      await loadParts(this, draft, () => this.#check("") && this.changed());
    }
    this.form.addEventListener("formdata", ({ formData }) => this.reading || this.#write(formData));
    this.form.addEventListener("htmx:before:request", () => this.saver.hold()); // a draft would race with the submit
    this.form.addEventListener("htmx:error", (event) => {
      event.stopPropagation(); // what the page says of lost requests in general is "try again"; here that happens by itself
      this.#notSubmitted(true);
    });
    this.form.addEventListener("htmx:response:error", ({ detail }) => {
      const { status } = detail.ctx.response;
      this.#notSubmitted(status >= 500);
      if (status === 401) this.signIn(this.form);
    });
    for (const other of this.root.querySelectorAll("form[hx-post]:not(#judge)")) this.#insist(other);
    this.form.addEventListener("change", (event) => event.target.name && this.changed());
    this.form.addEventListener("input", (event) => event.target.name === "comment" && this.changed());
    this.#showChoice();
    if (this.spans.length) this.#load(this.useMarks());
    // most items are read as they stand: what changes how they are shown comes when it is used, or needed at once, as for code,
    // headings and texts of many parts
    if (this.writes || this.labels) return;
    const { layout, raw } = this.root.dataset;
    const rich = this.root.querySelector(
      ".response__text > :nth-child(9), .response__text :is(pre.md-code, h4, h5, h6)",
    );
    if (layout === "single" || raw === "on" || rich) this.#load(this.useView());
    const bar = this.root.querySelector("[data-view]");
    bar.addEventListener("click", async ({ target }) => (await this.useView()).click(target));
  }

  async useView() {
    const { View } = await import("./annotate-view.js");
    const loadDiff = async () => (await import("./annotate-edit.js")).loadDiff(this.root.dataset.diff);
    const told = { announce, hint, loadDiff, onRaw: () => this.marks?.paint() };
    this.view ??= new View(this.root, { texts: this.texts, ...told });
    return this.view;
  }

  async useMarks() {
    const { Marks } = await import("./annotate-marks.js");
    this.marks ??= new Marks(this.root, { work: this, announce, hint });
    return this.marks;
  }

  /** Select a passage by keys, in the response that is at hand. */
  async selectPassage() {
    const { Selector } = await import("./annotate-select.js");
    this.selector ??= new Selector(this.root, { announce, hint });
    this.selector.open(this.best ?? this.view?.current ?? "A");
  }

  get choice() {
    return this.fields.choice?.value ?? "";
  }

  /** The letter of the response that is preferred so far, or null. */
  get best() {
    if (this.ranker) return this.choice === "" && this.ranker.complete ? this.ranker.best : null;
    return preferred(this.choice);
  }

  /** Choose by key; the radio takes the focus, so that Enter submits. */
  pick(value) {
    const radio = this.#check(value);
    if (!radio) return;
    radio.focus({ preventScroll: true });
    this.changed();
    // what is pressed next is for the rating, as soon as the part that knows it is there
    if (this.isRated && !this.rater) return this.loading?.then(() => this.rateNext());
    this.rateNext();
  }

  #check(value) {
    const radio = this.form.querySelector(`input[name=choice][value="${value}"]`);
    if (radio) radio.checked = true;
    return radio;
  }

  changed() {
    this.leaving = false;
    this.#showChoice();
    const draft = this.draft();
    this.saver.note(draft);
    this.mirror.keep(draft, this.saver.version, this.saver.sent);
  }

  draft(entries = this.#entries()) {
    return {
      ...judged(this.choice, this.ranker?.said()),
      ...detailsOf(entries),
      edits: this.editor ? Object.fromEntries(this.editor.edits) : this.edits,
      revisions: this.revisions,
      spans: JSON.parse(this.fields.spans.value || "[]"),
      ...this.stepper?.said(),
      nothing_to_improve: this.fields.nothing_to_improve?.checked ?? false,
      comment: this.fields.comment.value,
      active_seconds: Math.round(this.clock.seconds),
    };
  }

  /** What is submitted: the draft with the edit that is open, and none that was begun on another response. */
  #judgement(entries) {
    const { position, text } = this.editor?.value() ?? {};
    const revision = this.revisions[position];
    return {
      ...this.draft(entries),
      edits: text ? { [position]: text } : {},
      revisions: text && revision ? { [position]: revision } : {},
      active_seconds: Number(this.clock.seconds.toFixed(1)),
    };
  }

  /** Put the judgement in the place of the fields that say it for pages without scripts. */
  #write(formData) {
    const judgement = JSON.stringify(this.#judgement([...formData])); // while it is made, no other one can be
    for (const name of [...formData.keys()]) if (!ENVELOPE.includes(name)) formData.delete(name);
    formData.set("judgement", judgement);
  }

  /** The fields as they stand. */
  #entries() {
    this.reading = true;
    const entries = [...new FormData(this.form)];
    this.reading = false;
    return entries;
  }

  #showChoice() {
    const best = this.best;
    const places = this.choice === "" ? this.ranker?.places : null;
    for (const response of this.root.querySelectorAll("[data-response]")) {
      const name = response.dataset.response;
      response.toggleAttribute("data-chosen", name === best);
      const strength = name === best ? this.words.strengths[this.choice[1]] : "";
      const place = places?.has(name) ? t("Place {place}", { place: places.get(name) }) : "";
      response.querySelector("[data-mark]").textContent = this.ranker ? place : strength;
    }
    this.ranker?.off(this.choice !== "");
    this.#load(this.#edit(best));
  }

  /** Remember that a part of the page is on its way: what was drafted is not in the form before it has come. */
  #load(part) {
    const loading = Promise.all([this.loading, part])
      .catch(() => {
        if (navigator.onLine) this.say(t("A part of this page did not load: reload it. Your draft is kept."));
      })
      .finally(() => {
        if (this.loading === loading) this.loading = null;
      });
    this.loading = loading;
  }

  /** Open the response `name` for editing. A ranking takes a while, so there the editor comes with its first change. */
  async #edit(name) {
    if (!this.improve) return;
    if ((name || this.ranker?.said()) && !this.editor) {
      const parts = await import("./annotate-edit.js").catch((error) => this.#editLater(error));
      if (!parts) return;
      this.editor ??= parts.editorOf(this);
    }
    if (this.best) this.editor?.open(this.best);
    else this.editor?.close();
  }

  /** The editor did not come: try again, as soon as there is a network. */
  #editLater(error) {
    if (!navigator.onLine) return;
    this.editTries = (this.editTries ?? 0) + 1;
    if (this.editTries > 3) throw error;
    setTimeout(() => this.root.isConnected && this.#showChoice(), 1000 * backoff(this.editTries));
  }

  focusChoice() {
    if (this.writes) return this.root.querySelector("#work-title").focus();
    if (this.stepper) return this.stepper.focus();
    (this.form.querySelector("input[name=choice]:checked") ?? this.form.querySelector("input[name=choice]")).focus();
  }

  /** Go to the next rating that is missing, else to the first one. */
  rate() {
    if (!this.rater?.focus()) hint(t("This batch has no ratings of responses"));
  }

  /** After the judgement: go to the first rating that is missing; returns whether there is one. */
  rateNext() {
    return this.rater?.next() ?? false;
  }

  /** How much waits for the network: what was submitted, skipped or taken back, and a draft that goes along with none of it. */
  get waiting() {
    const draft = this.saver.unsaved && !this.unsent.has(this.form);
    return this.unsent.size + (draft ? 1 : 0);
  }

  #showSaved(state = this.saveState) {
    this.saveState = state;
    const line = this.root.querySelector("[data-save-state]");
    line.textContent = navigator.onLine ? SAID[state] : t("Offline: {n} waiting", { n: this.waiting });
    line.dataset.state = navigator.onLine ? state : "offline";
    if (state === "failed" && navigator.onLine) announce(t("Not saved, retrying"));
  }

  /** The network went, or it is back: then what waits is sent at once. */
  connected(is) {
    this.#showSaved();
    if (!is) return announce(t("Offline. Your work is kept here and sent when the network is back."));
    announce(t("The network is back."));
    this.#showChoice(); // a part that did not load then loads now
    for (const form of this.unsent) form.requestSubmit();
    if (!this.unsent.has(this.form)) this.saver.flush();
  }

  async #draftRefused(refused) {
    if (refused.status === 401 && Date.now() - this.signedIn < 5000) {
      this.saver.resume(); // it was on its way while its person signed in
      this.saver.note(this.draft());
      return;
    }
    this.#showSaved("refused");
    const { explain } = await import("./annotate-refused.js");
    explain(this, refused);
  }

  /** Make ready to be submitted. Says what is missing, and returns whether something is. */
  prepare() {
    this.fields.draft_version.value = this.saver.version;
    const problem = this.#missing();
    return problem && this.say(problem);
  }

  #missing() {
    if (this.stepper) return this.stepper.problem();
    if (this.ranker && this.choice === "") {
      const missing = this.ranker.complain();
      if (missing) return missing;
    } else if (this.choice === "") {
      return unchosen(this.words.outcomes, this.keys);
    }
    if (this.rater?.missing) {
      this.rate();
      return t("Rate every response: one rating is missing, and it has the focus now.");
    }
    if (this.ranker && this.choice === "" && !this.ranker.meant)
      return this.ranker.askOrder(() => this.form.requestSubmit());
    if (!this.editor)
      return this.best in this.edits ? t("The editor did not load: reload this page. Your edit is kept.") : "";
    const problem = this.editor.problem();
    if (problem) this.editor.focus();
    return problem;
  }

  #notSubmitted(again) {
    this.#unsent(this.form, again);
    this.saver.resume();
    this.saver.note(this.draft());
    if (again) this.retry();
    else this.tries = 0;
  }

  #unsent(form, is) {
    if (is) this.unsent.add(form);
    else this.unsent.delete(form);
    this.#showSaved();
  }

  /** A skip or an undo that did not arrive is sent again as well; either can be sent twice. */
  #insist(form) {
    const again = () => form.isConnected && form.requestSubmit();
    const lost = () => {
      this.#unsent(form, true);
      this.say(t("The server cannot be reached. This is sent again in 2 s; stay on this page."));
      setTimeout(again, 2000);
    };
    form.addEventListener("htmx:error", (event) => {
      event.stopPropagation();
      lost();
    });
    form.addEventListener("htmx:response:error", ({ detail }) => {
      const { status } = detail.ctx.response;
      if (status >= 500) return lost();
      this.#unsent(form, false);
      if (status === 401) this.signIn(form);
    });
  }

  /** The session ended: sign in over this page, and send again what was refused. */
  async signIn(form) {
    const { signIn } = await import("./sign-in.js");
    if (!(await signIn())) return;
    this.signedIn = Date.now();
    document.querySelector("#problems").replaceChildren();
    this.clear("draft");
    if (form) return form.requestSubmit();
    this.saver.resume();
    this.saver.note(this.draft());
  }

  /** The server's words about a submit are on the page; they say under which version it kept what was sent. */
  told() {
    this.saver.version = Number(this.root.querySelector("[data-kept]")?.dataset.kept ?? this.saver.version);
  }

  /** The submit did not arrive, or the server is away: try again with the same key, which can never count twice. */
  retry() {
    this.tries += 1;
    const seconds = backoff(this.tries);
    this.say(
      t("The server cannot be reached. Your judgement is sent again in {seconds} s; stay on this page.", { seconds }),
    );
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.form.isConnected && this.form.requestSubmit(), seconds * 1000);
  }

  say(message, { place = "submit", link } = {}) {
    return notice(this.root, place, message, link);
  }

  clear(place) {
    clearNotice(this.root, place);
  }

  /** Another item takes this one's place. What was typed is still saved, unless the item is `done`. */
  leave(done) {
    if (done) {
      this.saver.stop();
      this.mirror.clear();
    } else this.saver.leave();
    clearTimeout(this.retryTimer);
    this.reviser?.close();
    this.marks?.close();
  }
}
