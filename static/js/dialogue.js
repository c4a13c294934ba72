// A dialogue: the message that is being written is kept, and the two answers are followed, at one pace.

import { followAt, stateInWords } from "./live.js";
import { t } from "./text.js";

const form = document.querySelector("[data-message]");
if (form) keepMessage(form);
const writing = document.querySelector("[data-writing]");
if (writing) watch(writing);
const offer = document.querySelector("[data-undo]");
if (offer) import("./annotate-undo.js").then(({ offerUndo }) => offerUndo(offer));

/** What is typed outlives a reload; it is forgotten when it was sent, which the next page shows. */
function keepMessage(form) {
  const place = `message:${form.dataset.message}`;
  const field = form.querySelector("textarea");
  if (!field.value && !field.readOnly) field.value = localStorage.getItem(place) ?? "";
  field.addEventListener("input", () => localStorage.setItem(place, field.value));
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) return event.preventDefault(); // twice is never meant; sent twice it would count once anyway
    sent = true;
    sessionStorage.setItem("sent", place);
  });
  window.addEventListener("pageshow", () => {
    sent = false; // back again
  });
}

function watch(section) {
  forgetSent();
  const judge = section.querySelector("[data-live-judge]");
  const said = section.querySelector("[data-live-said]");
  const panes = [...section.querySelectorAll("[data-live]")];
  const texts = panes.map((pane) => pane.querySelector("[data-live-text]"));
  const states = panes.map((pane) => pane.querySelector("[data-live-state]"));
  const clear = () => {
    for (const text of texts) text.textContent = "";
  };
  clear(); // the stream begins at the beginning
  followAt(section.dataset.writing, {
    onText: (now) => {
      now.texts.forEach((piece, side) => void texts[side].append(piece));
    },
    onReset: clear,
    onState: (now) => {
      for (const state of states) state.textContent = stateInWords(now);
    },
    onEnd: ({ replies }) => {
      replies.forEach((now, side) => {
        texts[side].textContent = now.text;
        states[side].textContent = stateInWords(now);
      });
      said.textContent = t("Both answers are ready.");
      judge.requestSubmit(); // what cannot be compared is explained on the page that this leads to
    },
  });
}

/** The message is part of the dialogue now. */
function forgetSent() {
  const place = sessionStorage.getItem("sent");
  if (place) localStorage.removeItem(place);
  sessionStorage.removeItem("sent");
}
