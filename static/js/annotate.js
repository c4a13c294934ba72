// The annotation page. The form works without any of this; here it gets keys, drafts, a lease that lives while somebody
// works, an editor for the chosen response, and submits that survive a lost network.

import { ActiveClock, backoff, choiceOf, fromDraft, grouped, preferred } from "./annotate-model.js";
import { call, SAID, Saver } from "./annotate-save.js";

const STRENGTHS = ["", "marginally better", "slightly better", "better", "significantly better"];
const GO_ON = { textContent: "Go on", href: "/annotate" };
const live = document.querySelector("#status");
const make = (tag, values) => Object.assign(document.createElement(tag), values);

/** Say `text` to screen readers. (Importing base.js by another address than the page's would run it twice.) */
function announce(text) {
  live.textContent = "";
  // a live region speaks only when its text changes: the same words twice need a moment of silence between
  setTimeout(() => {
    live.textContent = text;
  }, 50);
}

const keysDialog = document.querySelector("#keys");

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
    this.leaseEnd = Date.now() + Number(root.dataset.lease) * 1000;
    this.leaseSeconds = Math.max(4, Number(root.dataset.lease));
    this.nextBeat = Date.now() + this.leaseSeconds * 333;
    this.tries = 0;
    this.warned = false;
    this.saver = new Saver({
      version: Number(root.dataset.version),
      save: (value, version) => call(`${this.api}/draft`, { method: "PUT", body: { version, draft: value } }),
      onState: (state) => this.#showSaved(state),
      onSaved: (answer) => this.#leased(answer),
      onRefused: (refused) => this.#draftRefused(refused),
    });
    this.ready = this.#start(draft);
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
    this.form.addEventListener("htmx:before:request", () => this.saver.stop()); // a draft would race with the submit
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
    if (guidelines) {
      guidelines.open = localStorage.getItem("guidelines") !== "closed";
      guidelines.addEventListener("toggle", () =>
        localStorage.setItem("guidelines", guidelines.open ? "open" : "closed"),
      );
    }
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
    const radio = this.form.querySelector(`input[name=choice][value="${value}"]`);
    if (!radio) return;
    this.#check(value);
    radio.focus({ preventScroll: true });
    this.changed();
  }

  #check(value) {
    const radio = this.form.querySelector(`input[name=choice][value="${value}"]`);
    if (radio) radio.checked = true;
  }

  changed() {
    this.#showChoice();
    this.saver.note(this.draft());
  }

  draft() {
    const outcome = this.#outcome();
    const judged = outcome === "ranked" ? this.#ranked() : { ranking: [], strengths: [] };
    return {
      outcome,
      ...judged,
      edits: this.editor ? Object.fromEntries(this.editor.edits) : this.edits,
      comment: this.fields.comment.value,
      active_seconds: Math.round(this.clock.seconds),
    };
  }

  #outcome() {
    if (this.choice === "tie" || this.choice === "all_unacceptable") return this.choice;
    if (this.ranker) return this.ranker.state.touched ? "ranked" : null;
    return preferred(this.choice) ? "ranked" : null;
  }

  #ranked() {
    if (this.ranker) return grouped(this.ranker.state);
    const [best, strength] = this.choice;
    return { ranking: [[best], [best === "A" ? "B" : "A"]], strengths: [Number(strength)] };
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
    this.opening = this.#edit(best);
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
    if (!this.editor) await this.opening;
    if (!this.editor?.focus()) announce("Choose a response first");
  }

  #showSaved(state) {
    const line = this.root.querySelector("[data-save-state]");
    line.textContent = SAID[state];
    line.dataset.state = state;
    if (state === "failed") announce("Not saved, retrying");
  }

  #draftRefused(refused) {
    if (refused.problem.type?.endsWith("stale-version")) this.#showBoth(refused.problem);
    else if (refused.status === 401) this.#signIn(refused.message);
    else this.say(refused.message, GO_ON);
    this.#showSaved("idle");
  }

  /** The session ended: sign in beside this page, and what stands here is saved with the next change. */
  #signIn(message) {
    this.saver.resume(this.saver.version);
    this.say(message, { textContent: "Sign in in a new tab", href: "/login", target: "_blank" });
  }

  /** Another window saved first: show both, and let the annotator choose. */
  async #showBoth({ stored, version }) {
    this.say("Another window saved a newer draft of this item. Nothing is lost: choose which one to go on with.");
    const { showBoth } = await import("./annotate-both.js");
    showBoth(this.root.querySelector("#work-problem .notice"), [
      ["This window", this.draft(), () => this.#keepMine(version)],
      ["The other window", stored ?? {}, () => location.reload()],
    ]);
  }

  #keepMine(version) {
    this.root.querySelector("#work-problem").replaceChildren();
    this.saver.resume(version);
    this.saver.note(this.draft());
    this.saver.flush();
  }

  #leased({ lease_seconds: seconds, fencing_token: token }) {
    if (seconds) {
      this.leaseEnd = Date.now() + seconds * 1000;
      this.leaseSeconds = seconds;
      this.nextBeat = Date.now() + seconds * 333;
      if (this.warned) this.root.querySelector("#work-problem").replaceChildren();
      this.warned = false;
    }
    if (token) this.fields.fencing_token.value = token;
  }

  async #beat() {
    this.nextBeat = Date.now() + Math.max(2000, this.leaseSeconds * 333);
    try {
      this.#leased(await call(`${this.api}/lease`));
    } catch (error) {
      // a network that is away comes back; a seat that somebody took does not
      if (error.status === 409) {
        this.saver.stop();
        this.say(error.message, GO_ON);
      }
    }
  }

  tick(now) {
    const visible = document.visibilityState === "visible";
    this.clock.tick(now, visible);
    if (this.clock.working(now, visible)) {
      if (now >= this.nextBeat) this.#beat();
    } else if (!this.warned && this.leaseEnd - now < Math.min(120, this.leaseSeconds / 4) * 1000) {
      this.warned = true;
      this.say("This item goes back to the others soon. Press any key to keep it; your draft is kept in any case.");
    }
  }

  /** Fill the form's fields; says and returns what is missing, or "". */
  prepare() {
    this.fields.active_seconds.value = this.clock.seconds.toFixed(1);
    if (this.editor) {
      const { position, text } = this.editor.value();
      this.edited.value = text;
      this.fields.edited_position.value = position;
    }
    if (this.ranker) this.fields.order.value = this.choice === "" ? this.ranker.value() : "";
    const problem = this.#missing();
    if (problem) this.say(problem);
    return problem;
  }

  #missing() {
    if (this.ranker && this.choice === "") {
      const missing = this.ranker.complain();
      if (missing) return missing;
    } else if (this.choice === "") {
      return "Say first which response is better: keys 1 to 8, t for equally good, u for both unacceptable.";
    }
    const problem = this.editor?.problem() ?? "";
    if (problem) this.editor.focus();
    return problem;
  }

  #notSubmitted(again) {
    this.saver.resume(this.saver.version);
    this.saver.note(this.draft());
    if (again) this.retry();
  }

  /** The submit did not arrive, or the server is away: try again with the same key, which can never count twice. */
  retry() {
    this.tries += 1;
    const seconds = backoff(this.tries);
    this.say(`The server cannot be reached. Your judgement is sent again in ${seconds} s; stay on this page.`);
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.form.isConnected && this.form.requestSubmit(), seconds * 1000);
  }

  say(message, link) {
    const notice = make("div", { className: "notice notice--warn" });
    notice.append(make("p", { textContent: message }));
    if (link) notice.append(make("a", { className: "button button--small", ...link }));
    const place = this.root.querySelector("#work-problem");
    place.replaceChildren(notice);
    place.scrollIntoView({ block: "nearest" });
  }

  leave() {
    this.saver.stop();
    clearTimeout(this.retryTimer);
  }
}

let work = null;

/** Take over the item on the page, if it is another one than before. */
function take(arrived) {
  const root = document.querySelector("#work");
  if (root === work?.root) return;
  work?.leave();
  work = root?.querySelector("#judge") ? new Work(root) : null;
  if (!arrived) return;
  window.scrollTo({ top: 0 });
  root?.querySelector("#work-title")?.focus({ preventScroll: true });
  announce(work ? "Recorded. Next item." : "Recorded. Nothing left for now.");
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
  if (!details) return;
  const shown = details.open && details.contains(document.activeElement);
  details.open = !shown;
  details.querySelector(shown ? "summary" : focused)?.focus();
}

function isTyping(target) {
  return target.matches("textarea, select, input:not([type=radio], [type=checkbox])") || target.isContentEditable;
}

document.addEventListener("keydown", (event) => {
  if (!work || event.defaultPrevented || keysDialog.open) return;
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
    keysDialog.showModal();
  } else if (localStorage.getItem("keys") === "off") {
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
  if (event.target.closest("[data-show-keys]")) keysDialog.showModal();
});

document.addEventListener(
  "submit",
  (event) => {
    if (event.target !== work?.form || !work.prepare()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);

for (const kind of ["keydown", "pointerdown", "pointermove", "scroll"]) {
  document.addEventListener(kind, () => work?.clock.use(Date.now()), { passive: true, capture: true });
}

setInterval(() => work?.tick(Date.now()), 1000);

document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && work?.saver.flush());
window.addEventListener("beforeunload", () => work?.saver.flush());
window.addEventListener("online", () => work?.tries && work.form.requestSubmit());

document.addEventListener("htmx:after:swap", () => take(true));

const keysOn = keysDialog.querySelector("[data-keys-on]");
keysOn.checked = localStorage.getItem("keys") !== "off";
keysOn.addEventListener("change", () => localStorage.setItem("keys", keysOn.checked ? "on" : "off"));

take(false);
