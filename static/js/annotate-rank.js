// The ordered list for three and more responses: by dragging, by buttons and by keys alike.

import {
  arrange,
  complete,
  fromDraft,
  gapOf,
  grouped,
  join,
  place,
  places,
  setGap,
  shiftGap,
  toggleTie,
} from "./annotate-ranking.js";
import { RankLine } from "./annotate-rank-line.js";
import { t } from "./text.js";

/** What a pointer sends while it drags, by mouse and by touch. */
const MOVES = ["dragover", "pointermove", "touchmove"];
/** The share of a response's height, above and below, in which another one takes its place instead of joining it. */
const EDGE = 0.25;

function loadScript(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    document.head.append(script);
  });
}

export class Ranker {
  constructor(section, { draft, announce, onChange, onDone, sortableUrl, words }) {
    Object.assign(this, { section, announce, onChange, onDone, strengths: words.strengths });
    this.list = section.querySelector("[data-ranking-list]");
    this.items = new Map([...this.list.children].map((item) => [item.dataset.place, item]));
    this.state = fromDraft(draft, this.items.size);
    // the fields for pages without scripts must not be sent beside `order`
    for (const field of section.querySelectorAll("[name=rank], [name=strength]")) field.disabled = true;
    for (const item of this.items.values()) this.#prepare(item);
    this.line = new RankLine(section, {
      shown: this.items.size,
      announce,
      onTyped: (state, { isWhole }) => this.#typed(state, isWhole),
      onDown: () => this.#row(this.state.order[0]).focus(),
    });
    this.line.show(this.state);
    this.strip = section.querySelector("[data-strip]");
    this.strip.addEventListener("click", ({ target, detail }) => {
      const button = target.closest("[data-strength]");
      if (button) this.compare(Number(button.dataset.strength), { byKey: detail === 0 });
    });
    this.active = this.#open();
    const allow = () => this.list.isConnected && this.#allowDragging(sortableUrl);
    // Whoever drags with a mouse moves it first; a finger that arrives is dragging already. A pointer that rests on the list from
    // the item before does neither, but then the script is there.
    const now = globalThis.Sortable || this.list.matches(":hover") || matchMedia("(any-pointer: coarse)").matches;
    if (now) allow();
    else document.addEventListener("pointermove", allow, { once: true });
    this.#show();
  }

  /** How a response stands to the next one, for a gap between 0 and 4; null: nothing is said of it. */
  #than(gap) {
    if (gap === null) return t("how much better?");
    return gap === 0 ? t("as good as") : t("{strength} than", { strength: this.strengths[gap] });
  }

  /** The same in a sentence. */
  #compared(name, gap, below) {
    if (gap === null) return t("{name} and {below}", { name, below });
    if (gap === 0) return t("{name} as good as {below}", { name, below });
    return t("{name} {strength} than {below}", { name, strength: this.strengths[gap], below });
  }

  focus() {
    this.line.focus();
    return true;
  }

  /** The place of each response that is ranked, from 1, or null while nobody has ranked anything. */
  get places() {
    if (!this.state.touched) return null;
    return new Map([...places(this.state)].filter(([name]) => !this.line.left.includes(name)));
  }

  get best() {
    return this.state.order[0];
  }

  /** Whether the order is meant: it is another one than on the page, or somebody said so. */
  get meant() {
    return this.saidSo || this.state.order.some((name, at) => at > 0 && name < this.state.order[at - 1]);
  }

  /** A ranking in the very order of the page may be meant, or be forgotten: ask, once, and `submit` after a yes. */
  askOrder(submit) {
    const dialog = document.querySelector("#order");
    dialog.onclose = () => {
      if (dialog.returnValue !== "yes") return this.focus();
      this.saidSo = true;
      submit();
    };
    dialog.returnValue = "";
    dialog.showModal();
    return t("You left the responses in the order shown.");
  }

  /** Whether every strength is set. */
  get complete() {
    return complete(this.state);
  }

  /** What a draft says of the ranking, or null while nobody has touched it. */
  said() {
    return this.state.touched ? grouped(this.state) : null;
  }

  /** Point at what is missing first; returns what to do about it. */
  complain() {
    const unnamed = this.line.complain();
    if (unnamed) return unnamed;
    const at = this.state.gaps.indexOf(null);
    if (at < 0) return "";
    this.active = at;
    this.#show();
    const gap = this.items.get(this.state.order[at]).querySelector("[data-gap]");
    gap.toggleAttribute("data-missing", true);
    gap.focus();
    const [name, below] = this.state.order.slice(at);
    return t("Choose how much better {name} is than {below}.", { name, below });
  }

  /** Say how the response at hand compares with the next one, from 0 (as good) to 4, and go on to the next gap. */
  compare(value, { byKey = true } = {}) {
    const at = this.active;
    const state = value === 0 ? toggleTie(this.state, at) : setGap(this.state, at, value);
    this.#say(state, at);
    if (state.gaps[at] === null) return;
    this.active = this.#open(at);
    this.#goOn(byKey);
  }

  /** Strengthen (1) or weaken (-1) how the response at hand compares with the next one. */
  shift(by) {
    this.#say(shiftGap(this.state, this.active, by), this.active);
    this.#goOn(false);
  }

  /** The next gap after `at` of which nothing is said, else the first one, else the same. */
  #open(at = -1) {
    const { gaps } = this.state;
    const next = gaps.indexOf(null, at + 1);
    const first = next < 0 ? gaps.indexOf(null) : next;
    return first < 0 ? Math.max(0, at) : first;
  }

  /** The gap at hand is another one now; the focus goes along where it was in the list, and on from here when all is said. */
  #goOn(byKey) {
    this.#show();
    if (byKey && this.complete && this.onDone()) return;
    const focused = document.activeElement;
    if (!this.list.contains(focused)) return;
    const item = this.items.get(this.state.order[this.active]);
    if (focused.matches("[data-gap]")) item.querySelector("[data-gap]").focus();
    else if (gapOf(this.state, this.#at(focused.closest("[data-place]").dataset.place)) !== this.active)
      this.#row(item.dataset.place).focus();
  }

  #typed(state, isWhole) {
    const wasOpen = !this.complete;
    this.saidSo ||= isWhole;
    this.state = state;
    this.active = this.#open();
    this.#show();
    this.onChange();
    if (isWhole && wasOpen && this.complete) this.onDone();
  }

  /** Dim the list while another outcome is chosen. */
  off(is) {
    this.section.toggleAttribute("data-off", is);
  }

  #row(name) {
    return this.items.get(name).querySelector("[data-place-row]");
  }

  #prepare(item) {
    const name = item.dataset.place;
    const row = this.#row(name);
    row.tabIndex = 0;
    row.setAttribute("role", "group");
    row.setAttribute("aria-describedby", "ranking-hint");
    row.dataset.ownKeys = "";
    row.addEventListener("keydown", (event) => this.#key(event, name));
    row.addEventListener("focus", () => this.#at(name) >= 0 && this.#activate(gapOf(this.state, this.#at(name))));
    for (const button of row.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => this.#move(name, this.#at(name) + Number(button.dataset.move), button));
    }
    item.querySelector("[data-gap]").addEventListener("click", () => this.#activate(this.#at(name)));
  }

  #activate(at) {
    this.active = at;
    this.#show();
  }

  #at(name) {
    return this.state.order.indexOf(name);
  }

  #move(name, to, focused) {
    if (to < 0 || to >= this.state.order.length) return;
    this.#change(place(this.state, name, to));
    this.#sayMoved(name, to);
    // a button at the end of the list is off, and an element that was moved has lost the focus
    (focused?.disabled === false ? focused : this.#row(name)).focus();
  }

  #sayMoved(name, to) {
    this.announce(t("{name} moved to {place} of {all}", { name, place: to + 1, all: this.state.order.length }));
  }

  #key(event, name) {
    const { isComposing } = globalThis.corralRead;
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || isComposing(event)) return;
    const at = this.#at(name);
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (by && event.altKey) this.#move(name, at + by);
    else if (by) this.#row(this.state.order[at + by] ?? name).focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #say(state, at) {
    this.#change(state);
    const gap = state.gaps[at];
    this.#showExample(gap);
    this.announce(this.#compared(state.order[at], gap, state.order[at + 1]));
  }

  #change(state) {
    const moved = state.order.some((name, at) => name !== this.state.order[at]);
    this.state = state;
    if (moved) this.active = this.#open();
    this.line.show(state);
    this.#show();
    this.onChange();
  }

  #show() {
    const shared = places(this.state);
    this.state.order.forEach((name, at) => {
      const item = this.items.get(name);
      if (this.list.children[at] !== item) this.list.insertBefore(item, this.list.children[at] ?? null);
      const below = this.state.order[at + 1];
      const said = { name, place: shared.get(name), all: this.state.order.length };
      this.#row(name).setAttribute("aria-label", t("Response {name}, place {place} of {all}", said));
      item.querySelector("[data-place-number]").textContent = shared.get(name);
      item.querySelector("[data-move='-1']").disabled = at === 0;
      item.querySelector("[data-move='1']").disabled = below === undefined;
      if (below !== undefined) this.#showGap(item, at, name, below);
    });
    this.#showStrip();
  }

  #showGap(item, at, name, below) {
    const gap = this.state.gaps[at];
    const button = item.querySelector("[data-gap]");
    button.textContent = this.#than(gap);
    const said = { name, below, how: button.textContent };
    button.setAttribute("aria-label", t("{name} compared with {below}: {how}", said));
    if (at === this.active) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.toggleAttribute("data-unset", gap === null);
    button.toggleAttribute("data-tied", gap === 0);
    if (gap !== null) button.removeAttribute("data-missing");
  }

  /** The strip is about the gap at hand. */
  #showStrip() {
    const { active } = this;
    const { order, gaps } = this.state;
    const said = { name: order[active], below: order[active + 1] };
    this.section.querySelector("[data-strip-of]").textContent = t("{name} compared with {below}", said);
    for (const button of this.strip.querySelectorAll("[data-strength]")) {
      button.setAttribute("aria-pressed", String(gaps[active] === Number(button.dataset.strength)));
    }
  }

  /** The guidelines' example of the strength that was chosen last. */
  #showExample(strength) {
    for (const example of this.section.querySelectorAll(".levels__example")) {
      example.toggleAttribute("data-shown", example.id === `example-${strength}`);
    }
  }

  async #allowDragging(url) {
    if (!globalThis.Sortable) await loadScript(url).catch(() => null);
    const follow = (event) => this.#aim(event);
    globalThis.Sortable?.create(this.list, {
      handle: "[data-place-row]",
      filter: "button",
      preventOnFilter: false,
      animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120,
      // places change at the edges of a response; in its middle there is room for dropping one onto another
      invertSwap: true,
      onMove: () => this.onto === null,
      onChoose: ({ item }) => {
        this.dragged = item;
        this.onto = null;
        for (const kind of MOVES) document.addEventListener(kind, follow, true);
      },
      onUnchoose: () => {
        for (const kind of MOVES) document.removeEventListener(kind, follow, true);
        this.onto?.removeAttribute("data-onto");
      },
      onEnd: (event) => this.#dropped(event),
    });
  }

  /** Find out onto which response the dragged one would be dropped where the pointer is now. */
  #aim(event) {
    const { clientX: x, clientY: y } = event.touches?.[0] ?? event;
    const isUnder = (item) => {
      const { left, right, top, bottom, height } = item.querySelector("[data-place-row]").getBoundingClientRect();
      return x > left && x < right && y > top + EDGE * height && y < bottom - EDGE * height;
    };
    const items = [...this.items.values()];
    this.onto = items.find((item) => item !== this.dragged && isUnder(item)) ?? null;
    for (const item of items) item.toggleAttribute("data-onto", item === this.onto);
  }

  #dropped({ item, oldIndex, newIndex }) {
    const name = item.dataset.place;
    const onto = this.onto?.dataset.place;
    if (onto) {
      this.#change(join(this.state, name, onto));
      this.announce(this.#compared(name, 0, onto));
    } else if (oldIndex !== newIndex) {
      const order = [...this.list.children].map((each) => each.dataset.place);
      this.#change(arrange(this.state, order));
      this.#sayMoved(name, newIndex);
    }
  }
}

/** The ranking of `work`'s item, begun as its draft says. */
export function rankerOf(work, draft, onChange, onDone) {
  return new Ranker(work.root.querySelector("[data-ranking]"), {
    draft: draft?.outcome === "ranked" ? draft : null,
    announce: work.announce,
    onChange,
    onDone,
    sortableUrl: work.root.dataset.sortable,
    words: work.words,
  });
}
