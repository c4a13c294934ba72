// The parts of an item that a plain pair has not: a ranking, ratings, labels of steps. They come beside each other.

import { announce, hint } from "./base.js";

/** Give `work` what its item asks for; `onRanked` is told that somebody ranked. */
export async function loadParts(work, draft, onRanked) {
  const { form, shown, isRated, labels } = work;
  const [rank, rate, steps] = await Promise.all([
    shown > 2 && import("./annotate-rank.js"),
    isRated && import("./annotate-rate.js"),
    labels && import("./annotate-steps.js"),
  ]);
  if (rate) {
    const show = (name) => work.view?.layoutNow === "single" && work.view.show(name);
    work.rater = new rate.Rater(form, { announce, hint, show, onChange: () => work.changed() });
  }
  if (rank) work.ranker = rank.rankerOf(work, draft, onRanked, () => work.rateNext());
  if (steps) work.stepper = steps.stepperOf(work, hint);
}
