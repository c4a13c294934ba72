// The desk: rows are walked and chosen by keys, and what was chosen is accepted, returned or assigned. The keys work only while
// the table has the focus; the page works without them.

import { announce, reachable } from "./base.js";
import { t, tn } from "./text.js";

const desk = document.querySelector("[data-desk]");
const dialog = document.querySelector("#desk-item");
const item = document.querySelector("#desk-item-body");
const rows = [...(desk?.querySelectorAll("[data-row]") ?? [])];
const NONE = t("Select rows to act on them.");
let last = null; // the row that was chosen last: the next choice can reach from it
let all = null; // once all that match are chosen, those of other pages too: `{ rows, count, whole }`

const find = (name) => desk.querySelector(`[data-${name}]`);
const box = (row) => row.querySelector("input[name=row]");
const chosen = () => rows.filter((row) => box(row).checked);
const current = () => rows.find((row) => row.contains(document.activeElement));

function counted() {
  if (all) {
    if (all.whole) return tn("{n} selected on all pages", "{n} selected on all pages", all.count);
    return tn(
      "{n} selected on all pages, the most that can be selected at once",
      "{n} selected on all pages, the most that can be selected at once",
      all.count,
    );
  }
  return chosen().length ? tn("{n} selected", "{n} selected", chosen().length) : NONE;
}

function say() {
  find("count").textContent = counted();
  find("rows").disabled = !all;
  find("rows").value = all?.rows ?? "";
  const page = find("page");
  page.checked = chosen().length === rows.length;
  page.indeterminate = !page.checked && chosen().length > 0;
}

/** Choose `row` or not; what `reaches` does so for all rows from the one before up to it. */
function choose(row, isChosen, reaches = false) {
  const ends = [rows.indexOf((reaches && last) || row), rows.indexOf(row)].sort((one, other) => one - other);
  for (const each of rows.slice(ends[0], ends[1] + 1)) box(each).checked = isChosen;
  last = row;
  all = null;
  say();
}

function choosePage(isChosen) {
  for (const row of rows) box(row).checked = isChosen;
  all = null;
  say();
}

/** All that match, as far as can be acted on at once. */
async function chooseAll() {
  const answer = await fetch(desk.dataset.chosen).catch(() => null);
  if (!answer?.ok) {
    announce(t("They could not be selected. Try again."));
    return;
  }
  choosePage(true);
  all = await answer.json();
  say();
}

function move(by) {
  const at = rows.indexOf(current());
  rows[Math.min(Math.max(at + by, 0), rows.length - 1)]?.querySelector("[data-open]").focus();
}

/** What an act is about: the chosen rows or, where there is none, the one in focus. */
function chooseCurrent() {
  if (!all && !chosen().length && current()) choose(current(), true);
}

/** Open the part of the bar that an act needs something from, and go to its field. */
function write(part, field) {
  chooseCurrent();
  find(part).open = true;
  desk.querySelector(field).focus();
}

const SENT_BY = { "desk-note": "send-return", "desk-to": "send-assign" };
const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  x: (event) => {
    const row = current();
    if (row) choose(row, event.shiftKey || !box(row).checked, event.shiftKey);
  },
  a: () => {
    chooseCurrent();
    desk.requestSubmit(find("accept"));
  },
  r: () => write("return", "#desk-note"),
  g: () => write("assign", "#desk-to"),
};

function read(event) {
  const { isCommand, isComposing, isSend, meaning } = globalThis.corralRead;
  const send = SENT_BY[event.target.id];
  if (send) {
    if (isSend(event)) {
      event.preventDefault();
      desk.requestSubmit(find(send));
    }
    return;
  }
  if (isComposing(event) || isCommand(event) || event.repeat) return;
  const key = meaning(event, (each) => each in KEYS);
  if (!key) return;
  event.preventDefault();
  KEYS[key](event);
}

/** Show what has come for the row that was opened; closing empties it. */
function show() {
  if (dialog.open || !item.childElementCount) return;
  dialog.showModal();
  reachable(dialog);
}

if (desk) {
  desk.addEventListener("keydown", read);
  desk.addEventListener("click", (event) => {
    if (event.target.matches("[data-all]")) chooseAll();
    if (event.target.matches("[data-page]")) choosePage(event.target.checked);
    if (event.target.matches("input[name=row]")) {
      choose(event.target.closest("[data-row]"), event.target.checked, event.shiftKey);
    }
  });
  for (const name of ["all", "page", "desk-keys"]) find(name).hidden = false;
  document.addEventListener("htmx:after:swap", show);
  dialog.addEventListener("close", () => item.replaceChildren());
  say();
}
