// The annotation page. The form works without any of this; here it gets keys, drafts, a lease that lives while somebody
// works, an editor for the chosen response, and submits that survive a lost network.

import { ActiveClock, backoff, choiceOf, fromDraft, judged, Lease, preferred } from "./annotate-model.js";
import { call, SAID, Saver } from "./annotate-save.js";

const STRENGTHS = ["", "marginally better", "slightly better", "better", "significantly better"];
const make = (tag, values) => Object.assign(document.createElement(tag), values);

/** Say `text` to screen readers. (Importing base.js by another address than the page's would run it twice.) */
function announce(text) {
  const live = document.querySelector("#status"); // looked up each time: going back and forward replaces the whole body
  live.textContent = "";
  // a live region speaks only when its text changes: the same words twice need a moment of silence between
  setTimeout(() => {
    live.textContent = text;
  }, 50);
}

class Work {
  constructor(root) {
    this.root = root;
    this.form = root.querySelector("#judge");
    this.fields = this.form.elements;
    this.api = `/api/v1/assignments/${root.dataset.assignment}`;
    const { texts, draft } = JSON.parse(root.querySelector("[data-work]").textContent);
    this.texts = texts;
    this.shown = Number(root.dataset.shown);
    this.clock = new ActiveClock(draft?.active_seconds ?? 0);
    this.lease = new Lease(Number(root.dataset.lease), Date.now());
    this.tries = 0;
    this.saver = new Saver({
      version: Number(root.dataset.version),
      save: (value, version) => call(`${this.api}/draft`, { method: "PUT", body: { version, draft: value } }),
      onState: (state) => this.#showSaved(state),
      onSaved: () => this.clear("draft"),
      onRefused: (refused) => this.#draftRefused(refused),
    });
    this.#load(this.#start(draft));
  }

  async #start(draft) {
    this.edits = draft?.edits ?? {};
    this.improve = this.root.querySelector("[data-improve]");
    if (this.improve) {
      this.improve.hidden = true;
      this.improve.querySelector("textarea").removeAttribute("name");
      this.edited = this.form.appendChild(make("input", { type: "hidden", name: "edited_text" }));
    }
    if (this.shown > 2) {
      const { Ranker } = await import("./annotate-rank.js");
      this.ranker = new Ranker(this.root.querySelector("[data-ranking]"), {
        state: fromDraft(draft?.outcome === "ranked" ? draft : null, this.shown),
        announce,
        onChange: () => {
          this.#check("");
          this.changed();
        },
        sortableUrl: this.root.dataset.sortable,
      });
    }
    this.form.addEventListener("htmx:before:request", () => this.saver.hold()); // a draft would race with the submit
    this.form.addEventListener("htmx:error", (event) => {
      event.stopPropagation(); // what the page says of lost requests in general is "try again"; here that happens by itself
      this.#notSubmitted(true);
    });
    this.form.addEventListener("htmx:response:error", ({ detail }) =>
      this.#notSubmitted(detail.ctx.response.status >= 500),
    );
    this.form.addEventListener("change", (event) => event.target.name && this.changed());
    this.form.addEventListener("input", (event) => event.target.name === "comment" && this.changed());
    const guidelines = this.root.querySelector("[data-guidelines]");
    if (guidelines) guidelines.open = localStorage.getItem("guidelines") !== "closed";
    guidelines?.addEventListener("toggle", () =>
      localStorage.setItem("guidelines", guidelines.open ? "open" : "closed"),
    );
    for (const box of this.root.querySelectorAll(".md-scroll, .md-maths")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    }
    this.#showChoice();
  }

  get choice() {
    return this.fields.choice?.value ?? "";
  }

  /** The letter of the response that is preferred so far, or null. */
  get best() {
    if (this.ranker) return this.choice === "" && this.ranker.value() ? this.ranker.best : null;
    return preferred(this.choice);
  }

  /** Choose by key; the radio takes the focus, so that Enter submits. */
  pick(value) {
    const radio = this.#check(value);
    if (!radio) return;
    radio.focus({ preventScroll: true });
    this.changed();
  }

  #check(value) {
    const radio = this.form.querySelector(`input[name=choice][value="${value}"]`);
    if (radio) radio.checked = true;
    return radio;
  }

  changed() {
    this.#showChoice();
    this.saver.note(this.draft());
  }

  draft() {
    return {
      ...judged(this.choice, this.ranker?.state),
      edits: this.editor ? Object.fromEntries(this.editor.edits) : this.edits,
      comment: this.fields.comment.value,
      active_seconds: Math.round(this.clock.seconds),
    };
  }

  #showChoice() {
    const best = this.best;
    for (const response of this.root.querySelectorAll("[data-response]")) {
      const chosen = response.dataset.response === best;
      response.toggleAttribute("data-chosen", chosen);
      const words = this.shown === 2 ? STRENGTHS[Number(this.choice[1])] : "best";
      response.querySelector("[data-mark]").textContent = chosen ? words : "";
    }
    this.ranker?.off(this.choice !== "");
    this.#load(this.#edit(best));
  }

  /** Remember that a part of the page is on its way: what was drafted is not in the form before it has come. */
  #load(part) {
    const loading = Promise.all([this.loading, part])
      .catch(() => this.say("A part of this page did not load: reload it. Your draft is kept."))
      .finally(() => {
        if (this.loading === loading) this.loading = null;
      });
    this.loading = loading;
  }

  /** Open the response `name` for editing. A ranking takes a while, so there the editor comes with its first change. */
  async #edit(name) {
    if (!this.improve) return;
    if ((name || !this.ranker || this.ranker.state.touched) && !this.editor) {
      const { Editor } = await import("./annotate-edit.js");
      this.editor ??= new Editor(this.improve, {
        texts: this.texts,
        edits: this.edits,
        required: this.root.dataset.edit === "required",
        diffUrl: this.root.dataset.diff,
        onChange: () => this.changed(),
      });
    }
    if (this.best) this.editor?.open(this.best);
    else this.editor?.close();
  }

  async focusEditor() {
    if (!this.editor) await this.loading;
    if (!this.editor?.focus()) announce("Choose a response first");
  }

  #showSaved(state) {
    const line = this.root.querySelector("[data-save-state]");
    line.textContent = SAID[state];
    line.dataset.state = state;
    if (state === "failed") announce("Not saved, retrying");
  }

  async #draftRefused(refused) {
    this.#showSaved("refused");
    const { explain } = await import("./annotate-refused.js");
    explain(this, refused);
  }

  async #beat() {
    this.lease.asked(Date.now());
    try {
      const { lease_seconds: seconds, fencing_token: token } = await call(`${this.api}/lease`);
      this.lease.renewed(seconds, Date.now());
      this.fields.fencing_token.value = token;
      this.clear("lease");
    } catch (error) {
      // a network that is away comes back; a seat that somebody took does not, but the draft is still saved
      if (error.status !== 409) return;
      this.lease.lost();
      this.saver.flush();
      this.say(error.message, { place: "lease", link: { textContent: "Go on", href: "/annotate" } });
    }
  }

  tick(now) {
    const visible = document.visibilityState === "visible";
    this.clock.tick(now, visible);
    if (this.clock.working(now, visible)) {
      if (this.lease.due(now)) this.#beat();
    } else if (this.lease.ending(now)) {
      const soon = "This item goes back to the others soon. Press any key to keep it; your draft is kept in any case.";
      this.say(soon, { place: "lease" });
    }
  }

  /** Fill the form's fields. Says what is missing, and returns whether something is. */
  prepare() {
    this.fields.active_seconds.value = this.clock.seconds.toFixed(1);
    this.fields.draft_version.value = this.saver.version;
    if (this.editor) {
      const { position, text } = this.editor.value();
      this.edited.value = text;
      this.fields.edited_position.value = position;
    }
    if (this.ranker) this.fields.order.value = this.choice === "" ? this.ranker.value() : "";
    const problem = this.#missing();
    return problem && this.say(problem);
  }

  #missing() {
    if (this.ranker && this.choice === "") {
      const missing = this.ranker.complain();
      if (missing) return missing;
    } else if (this.choice === "") {
      return "Say first which response is better: keys 1 to 8, t for equally good, u for both unacceptable.";
    }
    if (!this.editor)
      return this.best in this.edits ? "The editor did not load: reload this page. Your edit is kept." : "";
    const problem = this.editor.problem();
    if (problem) this.editor.focus();
    return problem;
  }

  #notSubmitted(again) {
    this.saver.resume();
    this.saver.note(this.draft());
    if (again) this.retry();
    else this.tries = 0;
  }

  /** The server's words about a submit are on the page; they say under which version it kept what was sent. */
  told() {
    this.saver.version = Number(this.root.querySelector("[data-kept]")?.dataset.kept ?? this.saver.version);
  }

  /** The submit did not arrive, or the server is away: try again with the same key, which can never count twice. */
  retry() {
    this.tries += 1;
    const seconds = backoff(this.tries);
    this.say(`The server cannot be reached. Your judgement is sent again in ${seconds} s; stay on this page.`);
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.form.isConnected && this.form.requestSubmit(), seconds * 1000);
  }

  /** Show `message` in a place of its own, so that it takes no other one away: about the submit, the draft or the lease. */
  say(message, { place = "submit", link } = {}) {
    const notice = make("div", { className: "notice notice--warn" });
    notice.append(make("p", { textContent: message }));
    if (link) notice.append(make("a", { className: "button button--small", ...link }));
    const problem = this.root.querySelector(`[data-problem="${place}"]`);
    problem.replaceChildren(notice);
    problem.scrollIntoView({ block: "nearest" });
    return notice;
  }

  clear(place) {
    this.root.querySelector(`[data-problem="${place}"]`).replaceChildren();
  }

  /** Another item takes this one's place. What was typed is still saved, unless the item is `done`. */
  leave(done) {
    if (done) this.saver.stop();
    else this.saver.leave();
    clearTimeout(this.retryTimer);
  }
}

let work = null;
let done = ""; // what the request under way did with the item, when it succeeds

/** Take over the item on the page, if it is another one than before. */
function take(arrived) {
  const root = document.querySelector("#work");
  if (root && root === work?.root) return work.told();
  work?.leave(done !== "");
  work = root?.querySelector("#judge") ? new Work(root) : null;
  if (!arrived || !root) return;
  document.title = `${root.dataset.title} · Corral`;
  window.scrollTo({ top: 0 });
  root.querySelector("#work-title")?.focus({ preventScroll: true });
  if (done) announce(`${done} ${work ? "Next item." : "Nothing left for now."}`);
}

const KEYS = {
  t: () => work.pick("tie"),
  u: () => work.pick("all_unacceptable"),
  r: () => work.ranker?.focus(),
  e: () => work.focusEditor(),
  c: () => open("[data-comment]", "textarea"),
  g: () => open("[data-guidelines]", "summary"),
  s: () => open("[data-skip]", "input"),
};

function open(selector, focused) {
  const details = work.root.querySelector(selector);
  const shown = details?.open && details.contains(document.activeElement);
  if (!details) return;
  details.open = !shown;
  details.querySelector(shown ? "summary" : focused)?.focus();
}

function isTyping(target) {
  return target.matches("textarea, select, input:not([type=radio], [type=checkbox])") || target.isContentEditable;
}

const keysDialog = () => document.querySelector("#keys");
const keysAreOn = () => localStorage.getItem("keys") !== "off";

function showKeys() {
  keysDialog().querySelector("[data-keys-on]").checked = keysAreOn();
  keysDialog().showModal();
}

document.addEventListener("keydown", (event) => {
  if (!work || event.defaultPrevented || keysDialog().open) return;
  if (event.target.closest("[data-skip] .menu__panel")) return; // there a digit or Ctrl+Enter is not about the responses
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    work.form.requestSubmit();
  } else if (event.key === "Escape" && event.target.matches("#judge textarea")) {
    event.preventDefault();
    (work.form.querySelector("input[name=choice]:checked") ?? work.form.querySelector("input[name=choice]")).focus();
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target)) {
    single(event);
  }
});

function single(event) {
  if (event.key === "?") {
    showKeys();
  } else if (!keysAreOn()) {
    return;
  } else if (work.shown === 2 && choiceOf(event.key)) {
    work.pick(choiceOf(event.key));
  } else if (Object.hasOwn(KEYS, event.key)) {
    KEYS[event.key]();
  } else {
    return;
  }
  event.preventDefault();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-show-keys]")) showKeys();
});

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-keys-on]")) localStorage.setItem("keys", target.checked ? "on" : "off");
});

document.addEventListener(
  "submit",
  (event) => {
    const submitted = work;
    if (event.target !== submitted?.form || !(submitted.loading || submitted.prepare())) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    // what was drafted comes with the part that is loading: sent without it, the edit would be lost
    submitted.loading?.then(() => submitted.form.isConnected && submitted.form.requestSubmit());
  },
  true,
);

for (const kind of ["keydown", "pointerdown", "pointermove", "scroll"]) {
  document.addEventListener(kind, () => work?.clock.use(Date.now()), { passive: true, capture: true });
}

setInterval(() => work?.tick(Date.now()), 1000);

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") work?.saver.leave();
  else work?.saver.flush(); // somebody signed in in another tab, or the machine woke up
});
window.addEventListener("pagehide", () => work?.saver.leave());
window.addEventListener("beforeunload", (event) => {
  work?.saver.leave();
  if (work?.saver.atRisk) event.preventDefault();
});
window.addEventListener("online", () => work?.tries && work.form.requestSubmit());

document.addEventListener("htmx:before:request", ({ target }) => {
  if (target === work?.form) done = "Recorded.";
  else done = target.closest?.("[data-skip]") ? "Skipped." : "";
});
document.addEventListener("htmx:before:history:restore", () => {
  done = "";
  work?.saver.leave();
});
document.addEventListener("htmx:after:swap", () => take(true));

take(false);
