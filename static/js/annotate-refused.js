// What the page says and offers when the server refuses a draft, or never got it. Loaded when that happens.

import { call, described, fingerprint } from "./annotate-draft.js";
import { t } from "./text.js";

/** A page before `work`'s could not save what was typed: store it now, and show the item with it. */
export async function bringBack(work, { draft, version, sent }) {
  try {
    await call(`${work.api}/draft`, { method: "PUT", body: { version, draft, corrects: work.corrects } });
    work.mirror.clear();
    work.saver.stop();
    location.reload();
  } catch (error) {
    if (!error.status) return; // the network is still away: what is kept stays for the next time
    const { stored, version: newer } = error.problem;
    if (stored && sent === fingerprint(stored)) return bringBack(work, { draft, version: newer }); // that page's own, too
    work.mirror.clear();
    const words = t(
      "An earlier page could not save this text, and a newer draft has been saved since. Copy what you need from it:",
    );
    const text = document.createElement("pre");
    text.textContent = described(draft, work.words.outcomes);
    work.say(words, { place: "draft" }).append(text);
  }
}

/** Explain on `work`'s page why its draft was `refused`, and how saving goes on. */
export function explain(work, refused) {
  const { saver } = work;
  if (refused.problem.type?.endsWith("stale-version")) {
    const said = t("A newer draft was saved in another window. Nothing is lost: choose which one to keep.");
    showBoth(work, work.say(said, { place: "draft" }), refused.problem);
  } else if (refused.status === 401) {
    saver.resume();
    const notice = work.say(t("Your session has expired. Your work on this page is saved once you sign in again."), {
      place: "draft",
    });
    const button = notice.appendChild(document.createElement("button"));
    Object.assign(button, { type: "button", className: "button button--small", textContent: t("Sign in here") });
    button.addEventListener("click", () => work.signIn(null));
  } else if (refused.status === 422 || refused.status === 413) {
    saver.resume(); // a text that is too long is saved as soon as it is shorter
    work.say(t("The draft is not saved. {why}", { why: refused.message }), { place: "draft" });
  } else {
    saver.stop();
    work.say(refused.message, { place: "draft", link: { textContent: t("Continue"), href: "/annotate" } });
  }
}

/** Two drafts of one item, side by side, each with a button that goes on with it. */
function showBoth(work, notice, { stored, version }) {
  const mine = () => {
    work.clear("draft");
    work.saver.resume(version);
    work.saver.note(work.draft());
    work.saver.flush();
  };
  const other = () => {
    work.saver.stop();
    location.reload();
  };
  const both = document.createElement("div");
  both.className = "both";
  for (const [title, use, draft, choose] of [
    [t("This window"), t("Use this window"), work.draft(), mine],
    [t("The other window"), t("Use the other window"), stored ?? {}, other],
  ]) {
    const side = both.appendChild(document.createElement("section"));
    side.className = "stack stack--tight";
    side.appendChild(document.createElement("h2")).textContent = title;
    side.appendChild(document.createElement("pre")).textContent = described(draft, work.words.outcomes);
    const button = side.appendChild(document.createElement("button"));
    Object.assign(button, {
      type: "button",
      className: "button button--small",
      textContent: use,
    });
    button.addEventListener("click", choose);
  }
  notice.append(both);
}
