// The annotation page: it takes over the item that is on it, keeps its time and its lease, and says which key does what. The form
// works without any of this; here it gets keys, drafts, an editor for the chosen response, and submits that survive a lost network.

import { call } from "./annotate-draft.js";
import { announce, copyText, hint, reachable } from "./base.js";
import { Work } from "./annotate-work.js";
import { t } from "./text.js";

const { corralAround, corralKeys } = globalThis;
let work = null;
let around = null;
let lastKeys = {};
let done = ""; // what the request under way did with the item, when it succeeds

/** Take over the item on the page, if it is another one than before. */
function take(arrived) {
  const root = document.querySelector("#work");
  if (root && root === work?.root) return work.told();
  work?.leave(done !== "");
  around?.leave();
  work = root?.querySelector("#judge") ? new Work(root) : null;
  lastKeys = work?.keys ?? lastKeys;
  around = work && new corralAround.Around(root, { useView: () => work.useView() });
  if (work) settle(root);
  const offer = root?.querySelector("[data-undo]");
  if (offer) import("./annotate-undo.js").then(({ offerUndo }) => offerUndo(offer, lastKeys.undo));
  if (!arrived || !root) return;
  document.title = `${root.dataset.title} · Corral`;
  window.scrollTo({ top: 0 });
  root.querySelector("#work-title")?.focus({ preventScroll: true });
  const told = root.querySelector("#feedback-head"); // while somebody qualifies
  const moved = root.querySelector("[data-moved]");
  const next = work ? t("Next item.") : t("Nothing left for now.");
  const said = [told ? t("{sentence}.", { sentence: told.textContent }) : done, next];
  if (moved) said.push(t("{sentence}.", { sentence: moved.textContent }));
  if (done) announce(said.join(" "));
}

/** What scrolls by itself can be reached by keys. */
function settle(root) {
  reachable(root);
}

/** Ask for more time for `item`. */
async function renew(item) {
  const { lease } = item;
  lease.asked(Date.now());
  try {
    const { lease_seconds: seconds, fencing_token: token } = await call(`${item.api}/lease`);
    lease.renewed(seconds, Date.now());
    item.fields.fencing_token.value = token;
    item.clear("lease");
  } catch (error) {
    // a network that is away comes back; a seat that somebody took does not, but the draft is still saved
    if (error.status !== 409) return;
    lease.lost();
    item.saver.flush();
    item.say(error.message, { place: "lease", link: { textContent: t("Continue"), href: "/annotate" } });
  }
}

function tick(now) {
  if (!work) return;
  const { clock, lease, corrects } = work;
  const visible = document.visibilityState === "visible";
  clock.tick(now, visible);
  if (corrects) return; // what is submitted needs no lease
  if (clock.working(now, visible)) {
    if (lease.due(now)) renew(work);
  } else if (lease.ending(now)) {
    const soon = t(
      "This item will soon be released to others. Press any key to keep it; your draft is kept in any case.",
    );
    work.say(soon, { place: "lease" });
  }
}

/** The editor of the chosen response, as soon as it is there; says why there is none. */
async function editor() {
  if (!work.editor) await work.loading;
  if (work.improve && !work.improve.hidden && work.editor) return work.editor;
  if (!work.improve) hint(t("This batch does not ask for an improvement"));
  else hint(work.best ? t("The editor did not load: reload this page") : t("Choose a response first"));
}

const edit = (act) => async () => {
  const found = await editor();
  if (found) act(found);
};

const ACTIONS = {
  tie: () => work.pick("tie"),
  unacceptable: () => work.pick("all_unacceptable"),
  ranking: () => hint(t("Two responses need no ranking")),
  attributes: async () => {
    if (work.isRated && !work.rater) await work.loading;
    work.rate();
  },
  flags: flag,
  mark: () => work.selectPassage(),
  note: async () => (await work.useMarks()).note(),
  improve: edit((editor) => editor.improve()),
  changes: edit((editor) => editor.toggle("changes")),
  nothing: edit(nothing),
  revise: edit((editor) => editor.askModel()),
  comment: () => open("[data-comment]", "textarea", t("Comments are not possible here")),
  layout: async () => (await work.useView()).nextLayout(),
  previous: async () => (await work.useView()).flip(-1),
  next: async () => (await work.useView()).flip(1),
  together: async () => {
    const view = await work.useView();
    if (view.layoutNow === "side") view.sync();
    else hint(t("Responses scroll together only side by side: {key} changes the layout", { key: work.keys.layout }));
  },
  raw: async () => (await work.useView()).raw(),
  differences: async () => (await work.useView()).differences(),
  outline: async () => (await work.useView()).outline(),
  guidelines: () => around.guidelines() || hint(t("This batch has no guidelines")),
  skip: () => open("[data-skip]", "input", t("This item cannot be skipped")),
  undo,
};
const { improve: write, comment, guidelines, skip } = ACTIONS;
const WRITING = { improve: write, comment, guidelines, skip, undo };
/** What is done with the steps, as soon as the part that knows them is there. */
const step = (act) => async () => {
  if (!work.stepper) await work.loading;
  if (work.stepper) act(work.stepper);
};
const LABELLING = {
  ...WRITING,
  step_wrong: step((steps) => steps.label(-1)),
  step_neutral: step((steps) => steps.label(0)),
  step_right: step((steps) => steps.label(1)),
  step_back: step((steps) => steps.back()),
  improve: step((steps) => steps.write()),
};
const rank = (act) => async () => {
  if (!work.ranker) await work.loading;
  if (work.ranker) act(work.ranker);
  else hint(t("The ranking did not load: reload this page"));
};
const RANKING = {
  ...ACTIONS,
  ranking: rank((ranker) => ranker.focus()),
  ...Object.fromEntries([1, 2, 3, 4].map((value) => [`strength_${value}`, rank((ranker) => ranker.compare(value))])),
  same: rank((ranker) => ranker.compare(0)),
  stronger: rank((ranker) => ranker.shift(1)),
  weaker: rank((ranker) => ranker.shift(-1)),
};
const PICKS = Object.fromEntries(
  ["A4", "A3", "A2", "A1", "B1", "B2", "B3", "B4"].map((choice) => [`pick_${choice}`, () => work.pick(choice)]),
);

function actionsOf({ labels, writes, shown, words }) {
  if (labels) return LABELLING;
  if (writes) return WRITING;
  const actions = shown === 2 ? { ...PICKS, ...ACTIONS } : RANKING;
  const range = selected()?.cloneRange();
  if (!range) return actions;
  const mark = (label) => [`mark_${label}`, async () => (await work.useMarks()).mark(label, range)];
  return { ...Object.fromEntries(Object.keys(words.marks).map(mark)), ...actions }; // before what else a digit does
}

/** What is selected of the text of a response, as a range, or null. */
function selected() {
  const selection = document.getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  const { startContainer: from, endContainer: to, endOffset } = range;
  const text = (from.closest ? from : from.parentElement)?.closest(
    "[data-response] :is(.response__text, .response__raw)",
  );
  // three clicks select a paragraph to where the next one begins, be it outside of the text
  return text && work?.root.contains(text) && (text.contains(to) || endOffset === 0) ? range : null;
}

function flag() {
  const { root, best, view } = work;
  const flags = root.querySelector(`[data-response="${best ?? view?.current ?? "A"}"] .flags`);
  if (!flags) return hint(t("This batch has no flags"));
  flags.open = true;
  flags.querySelector("input").focus();
}

function nothing() {
  const box = work.fields.nothing_to_improve;
  box.click();
  announce(box.checked ? t("Nothing to improve") : t("Something to improve"));
}

/** Undo what was done last, which is offered for some seconds; else go back to it or, from there, to the one before. */
function undo() {
  (document.querySelector("[data-undo]") ?? document.querySelector("[data-history]")).requestSubmit();
}

/** The actions that the item on the page has nothing for. */
function without() {
  const { improve: section, isRated, root } = work;
  return [
    !section && !root.querySelector("[data-steps-right]") && ["improve"],
    !section && ["changes", "nothing", "revise"],
    !isRated && ["attributes"],
    !root.querySelector("[data-guidelines]") && ["guidelines"],
    !root.querySelector("[data-skip]") && ["skip"],
  ]
    .filter(Boolean)
    .flat();
}

/** A key that does nothing on this item: say so. */
function nothingBehind({ key }) {
  if (key === "Enter") return hint(t("Enter submits from a choice, Ctrl Enter from everywhere"));
  hint(t("“{key}” does nothing here: ? lists the keys", { key }));
}

function open(selector, focused, missing) {
  const details = work.root.querySelector(selector);
  const shown = details?.open && details.contains(document.activeElement);
  if (!details) return hint(missing);
  details.open = !shown;
  details.querySelector(shown ? "summary" : focused)?.focus();
}

/** After the last item there is nothing to judge, but what was just submitted can still be taken back. */
function afterwards() {
  if (!document.querySelector("[data-undo], [data-history]")) return null;
  return { keys: lastKeys, actions: { undo: ACTIONS.undo }, submit() {}, escape() {} };
}

document.addEventListener(
  "submit",
  (event) => {
    const submitted = work;
    if (event.target !== submitted?.form || !(submitted.loading || submitted.prepare())) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!submitted.loading) return;
    // what was drafted comes with the part that is loading: sent without it, the edit would be lost
    corralKeys.hold();
    submitted.loading.then(() => {
      if (submitted.form.isConnected) submitted.form.requestSubmit();
      if (!onItsWay.size) corralKeys.release();
    });
  },
  true,
);

document.addEventListener("selectionchange", () => {
  if (!work || !(selected() || work.marks)) return;
  // without a network nothing is offered; the digit says so
  work.useMarks().then(
    (marks) => marks.selected(selected()),
    () => {},
  );
});

document.addEventListener("copy", (event) => work?.marks?.copy(event));

document.addEventListener("click", async ({ target }) => {
  const button = work && target.closest?.("[data-copy-response]");
  if (!button) return;
  const isCopied = await copyText(work.texts[button.dataset.copyResponse]);
  hint(
    isCopied
      ? t("Copied as it was written")
      : t("The browser did not allow copying: select the text and copy it yourself"),
  );
});

for (const kind of ["keydown", "pointerdown", "pointermove", "scroll"]) {
  document.addEventListener(kind, () => work?.clock.use(Date.now()), { passive: true, capture: true });
}

setInterval(() => tick(Date.now()), 1000);

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") work?.saver.leave();
  else work?.saver.flush(); // somebody signed in in another tab, or the machine woke up
});
function goAway() {
  if (!work) return;
  work.leaving = true;
  work.saver.leave();
}
window.addEventListener("pagehide", goAway);
window.addEventListener("beforeunload", (event) => {
  goAway();
  if (work?.saver.atRisk) event.preventDefault();
});
for (const kind of ["online", "offline"]) window.addEventListener(kind, () => work?.connected(kind === "online"));

const onItsWay = new Set(); // requests that may bring another item

document.addEventListener("htmx:before:request", ({ target, detail }) => {
  if (detail.ctx.target?.id === "work") {
    onItsWay.add(detail.ctx);
    corralKeys.hold();
  }
  if (target === work?.form) done = t("Recorded.");
  else done = target.closest?.("[data-skip]") ? t("Skipped.") : "";
});
document.addEventListener("htmx:response:error", ({ target, detail }) => {
  const nothing = target.matches?.("[data-history]") && detail.ctx.response.status === 409;
  if (nothing) hint(t("Nothing to undo: you have not judged or skipped anything before this"));
});
document.addEventListener("htmx:before:history:restore", () => {
  done = "";
  work?.saver.leave();
});
document.addEventListener("htmx:after:swap", () => take(true));
document.addEventListener("htmx:finally:request", ({ detail }) => {
  if (onItsWay.delete(detail.ctx) && !onItsWay.size) corralKeys.release();
});

take(false);

corralKeys.listen(() =>
  work
    ? {
        keys: work.keys,
        actions: actionsOf(work),
        submit: () => work.form.requestSubmit(),
        escape: () => work.editor?.escape() || work.focusChoice(),
        nothing: nothingBehind,
        without,
        failed: () => announce(t("This did not load: press the key again once the network is back")),
        closed: () => hint(t("Keys are about skipping here: Esc goes back to the responses")),
      }
    : afterwards(),
);
