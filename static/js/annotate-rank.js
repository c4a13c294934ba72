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

const EQUAL = "as good as";

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
  constructor(section, { draft, announce, hint, onChange, sortableUrl, keys, words }) {
    Object.assign(this, { section, announce, hint, onChange, keys, strengths: words.strengths });
    this.list = section.querySelector("[data-ranking-list]");
    this.items = new Map([...this.list.children].map((item) => [item.dataset.place, item]));
    this.state = fromDraft(draft, this.items.size);
    // the fields for pages without scripts must not be sent beside `order`
    for (const field of section.querySelectorAll("[name=rank], [name=strength]")) field.disabled = true;
    for (const item of this.items.values()) this.#prepare(item);
    const allow = () => this.list.isConnected && this.#allowDragging(sortableUrl);
    // Whoever drags with a mouse moves it first; a finger that arrives is dragging already. A pointer that rests on the list from
    // the item before does neither, but then the script is there.
    const now = globalThis.Sortable || this.list.matches(":hover") || matchMedia("(any-pointer: coarse)").matches;
    if (now) allow();
    else document.addEventListener("pointermove", allow, { once: true });
    this.#show();
  }

  /** How a response stands to the next one, for a gap between 0 and 4. */
  #than(gap) {
    return gap === 0 ? EQUAL : `${this.strengths[gap]} than`;
  }

  focus() {
    this.#row(this.state.order[0]).focus();
    return true;
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
    return "You left the responses in the order shown.";
  }

  /** Whether every strength is set. */
  get complete() {
    return complete(this.state);
  }

  /** What a draft says of the ranking, or null while nobody has touched it. */
  said() {
    return this.state.touched ? grouped(this.state) : null;
  }

  /** Point at the first strength that is missing; returns what to do about it. */
  complain() {
    const at = this.state.gaps.indexOf(null);
    if (at < 0) return "";
    const select = this.items.get(this.state.order[at]).querySelector("select[data-gap-select]");
    select.setAttribute("aria-invalid", "true");
    select.focus();
    return `Choose how much better ${this.state.order[at]} is than ${this.state.order[at + 1]}.`;
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
    row.addEventListener("keydown", (event) => this.#key(event, name));
    for (const button of row.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => this.#move(name, this.#at(name) + Number(button.dataset.move), button));
    }
    const select = document.createElement("select");
    select.dataset.gapSelect = "";
    select.append(new Option("how much better?", ""));
    for (const value of [4, 3, 2, 1, 0]) select.append(new Option(this.#than(value), String(value)));
    select.addEventListener("change", () => {
      const value = select.value === "" ? null : Number(select.value);
      this.#showExample(value);
      this.#change(setGap(this.state, this.#at(name), value));
    });
    item.querySelector("[data-gap]").append(select);
  }

  #at(name) {
    return this.state.order.indexOf(name);
  }

  #move(name, to, focused) {
    if (to < 0 || to >= this.state.order.length) return;
    this.#change(place(this.state, name, to));
    this.announce(`${name} moved to ${to + 1} of ${this.state.order.length}`);
    // a button at the end of the list is off, and an element that was moved has lost the focus
    (focused?.disabled === false ? focused : this.#row(name)).focus();
  }

  #key(event, name) {
    const { isCommand, isComposing } = globalThis.corralRead;
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || isComposing(event)) return;
    const at = this.#at(name);
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (by && event.altKey) this.#move(name, at + by);
    else if (by) this.#row(this.state.order[at + by] ?? name).focus();
    else if (isCommand(event) || !this.#single(event, at, name)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** A key that types something: a place, or one of the three that act on one gap. Returns whether it was one. */
  #single(event, at, name) {
    const { same, stronger, weaker, ...others } = this.keys;
    const gap = gapOf(this.state, at);
    const isPlace = (key) => /^[1-8]$/.test(key);
    // what somebody gave to another action is not looked for elsewhere on the keyboard
    const known = [same, stronger, weaker, ...Object.values(others)];
    const key = globalThis.corralRead.meaning(event, (each) => isPlace(each) || known.includes(each));
    if (isPlace(key)) {
      if (Number(key) > this.state.order.length)
        this.hint(`There is no place ${key}: ${this.state.order.length} responses.`);
      else this.#move(name, Number(key) - 1);
    } else if (key === same) this.#say(toggleTie(this.state, gap), gap, name);
    else if (key === stronger) this.#say(shiftGap(this.state, gap, 1), gap, name);
    else if (key === weaker) this.#say(shiftGap(this.state, gap, -1), gap, name);
    else return false;
    return true;
  }

  #say(state, at, name) {
    this.#change(state);
    this.#row(name).focus();
    const gap = state.gaps[at];
    this.#showExample(gap);
    this.announce(`${state.order[at]} ${gap === null ? "and" : this.#than(gap)} ${state.order[at + 1]}`);
  }

  #change(state) {
    this.state = state;
    this.#show();
    this.onChange();
  }

  #show() {
    const shared = places(this.state);
    this.state.order.forEach((name, at) => {
      const item = this.items.get(name);
      if (this.list.children[at] !== item) this.list.insertBefore(item, this.list.children[at] ?? null);
      const below = this.state.order[at + 1];
      this.#row(name).setAttribute(
        "aria-label",
        `Response ${name}, place ${shared.get(name)} of ${this.state.order.length}`,
      );
      item.querySelector("[data-place-number]").textContent = shared.get(name);
      item.querySelector("[data-move='-1']").disabled = at === 0;
      item.querySelector("[data-move='1']").disabled = below === undefined;
      if (below !== undefined) this.#showGap(item, name, below, this.state.gaps[at]);
    });
  }

  #showGap(item, name, below, gap) {
    const select = item.querySelector("select[data-gap-select]");
    select.value = gap === null ? "" : String(gap);
    select.toggleAttribute("data-unset", gap === null);
    const example = this.section.querySelector(`#example-${gap}`);
    if (example) select.setAttribute("aria-describedby", example.id);
    else select.removeAttribute("aria-describedby");
    select.setAttribute("aria-label", `${name} compared with ${below}`);
    if (gap !== null) select.removeAttribute("aria-invalid");
    item.querySelector("[data-gap]").toggleAttribute("data-tied", gap === 0);
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
      filter: "button, select",
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
      this.announce(`${name} ${EQUAL} ${onto}`);
    } else if (oldIndex !== newIndex) {
      const order = [...this.list.children].map((each) => each.dataset.place);
      this.#change(arrange(this.state, order));
      this.announce(`${name} moved to ${newIndex + 1} of ${order.length}`);
    }
  }
}

/** The ranking of `work`'s item, begun as its draft says. */
export function rankerOf(work, draft, hint, onChange) {
  return new Ranker(work.root.querySelector("[data-ranking]"), {
    draft: draft?.outcome === "ranked" ? draft : null,
    announce: work.announce,
    hint,
    onChange,
    sortableUrl: work.root.dataset.sortable,
    keys: work.keys,
    words: work.words,
  });
}
