// How the responses are shown: side by side, stacked or one at a time, as written or rendered, scrolled together, compared.

import { copyText } from "./base.js";
import { t } from "./text.js";
import { changes, shown } from "./word-diff.js";

const { remember } = globalThis.corralAround;
const make = (tag, values) => Object.assign(document.createElement(tag), values);
const LAYOUTS = ["side", "stacked", "single"];
const LONG = 6000;
const ENOUGH = 3;
const BEGINNING = 60;

/** What an outline of a response lists: its headings, or the paragraphs of a long one that has hardly any. */
function outlined(shown, text) {
  const headings = [...shown.querySelectorAll("h4, h5, h6")];
  if (headings.length >= ENOUGH || text.length < LONG) return headings;
  return [...shown.querySelectorAll(":scope > :is(p, ul, ol, blockquote, h4, h5, h6)")];
}

/** The first words of `part`. */
function words(part) {
  const text = part.textContent.trim().replace(/\s+/g, " ");
  return text.length <= BEGINNING ? text : `${text.slice(0, BEGINNING).replace(/\s\S*$/, "")}…`;
}

export class View {
  constructor(root, { texts, announce, hint, loadDiff, onRaw }) {
    Object.assign(this, { root, texts, announce, hint, loadDiff, onRaw });
    this.responses = new Map(
      [...root.querySelectorAll("[data-response]")].map((each) => [each.dataset.response, each]),
    );
    this.current = [...this.responses.keys()][0];
    for (const [name, article] of this.responses) {
      this.#copyButtons(article);
      this.#outline(name, article);
      article.querySelector(".response__text").addEventListener("scroll", (event) => this.#scrolled(event.target));
    }
    if (root.dataset.raw === "on") this.#showRaw(true);
    this.#show();
  }

  click(target) {
    const button = target.closest("button");
    if (!button) return;
    const { layoutTo, raw, sync, differences, flip } = button.dataset;
    if (layoutTo) this.layout(layoutTo);
    else if (raw !== undefined) this.raw();
    else if (sync !== undefined) this.sync();
    else if (differences !== undefined) this.differences();
    else if (flip) this.show(flip);
  }

  get layoutNow() {
    return this.root.dataset.layout;
  }

  nextLayout() {
    this.layout(LAYOUTS[(LAYOUTS.indexOf(this.layoutNow) + 1) % LAYOUTS.length]);
  }

  layout(name) {
    this.root.dataset.layout = name;
    this.#show();
    remember({ layout: name });
    const single = t("Only response {name}", { name: this.current });
    this.announce({ side: t("Side by side"), stacked: t("Stacked"), single }[name]);
  }

  /** One response back or on; from another layout it begins with one at a time. */
  flip(by) {
    const names = [...this.responses.keys()];
    if (this.layoutNow !== "single") this.layout("single");
    this.show(names[(names.indexOf(this.current) + by + names.length) % names.length]);
  }

  show(name) {
    this.current = name;
    this.#show();
    this.announce(t("Response {name}", { name }));
  }

  #show() {
    for (const [name, article] of this.responses) article.toggleAttribute("data-current", name === this.current);
    for (const button of this.root.querySelectorAll("[data-layout-to]")) {
      button.setAttribute("aria-pressed", String(button.dataset.layoutTo === this.layoutNow));
    }
    for (const button of this.root.querySelectorAll("[data-flip]")) {
      button.setAttribute("aria-pressed", String(button.dataset.flip === this.current));
    }
  }

  raw() {
    const on = this.root.dataset.raw !== "on";
    this.#showRaw(on);
    remember({ raw: on });
    this.announce(on ? t("Raw text") : t("Rendered"));
  }

  #showRaw(on) {
    this.root.dataset.raw = on ? "on" : "off";
    this.root.querySelector("[data-view] [data-raw]")?.setAttribute("aria-pressed", String(on));
    for (const [name, article] of this.responses) {
      let plain = article.querySelector(".response__raw");
      if (on && !plain) {
        plain = make("pre", { className: "response__raw md-plain", dir: "auto", textContent: this.texts[name] });
        article.querySelector(".response__text").after(plain);
      }
    }
    this.onRaw();
  }

  sync() {
    const on = this.root.dataset.sync !== "on";
    this.root.dataset.sync = on ? "on" : "off";
    this.root.querySelector("[data-view] [data-sync]")?.setAttribute("aria-pressed", String(on));
    for (const article of this.responses.values()) {
      const text = article.querySelector(".response__text");
      if (on)
        text.tabIndex = 0; // what scrolls has to be reached by keys
      else text.removeAttribute("tabindex");
    }
    remember({ sync_scroll: on });
    this.announce(on ? t("The responses scroll together") : t("The page scrolls as a whole"));
  }

  /** Texts of different lengths meet at their beginnings and at their ends. */
  #scrolled(from) {
    if (this.root.dataset.sync !== "on" || this.led === from) {
      this.led = null;
      return;
    }
    const share = from.scrollTop / Math.max(1, from.scrollHeight - from.clientHeight);
    for (const article of this.responses.values()) {
      const to = article.querySelector(".response__text");
      if (to === from) continue;
      this.led = to;
      to.scrollTop = share * (to.scrollHeight - to.clientHeight);
    }
  }

  #copyButtons(article) {
    for (const block of article.querySelectorAll("pre.md-code")) {
      const button = make("button", {
        type: "button",
        className: "button button--small copy-code",
        textContent: t("Copy"),
      });
      button.setAttribute("aria-label", t("Copy this code"));
      button.addEventListener("click", async () => {
        const isCopied = await copyText(block.querySelector("code").textContent);
        const failed = t("The browser did not allow copying: select the code and copy it yourself");
        this.announce(isCopied ? t("Copied") : failed);
      });
      block.before(button);
    }
  }

  #outline(name, article) {
    const parts = outlined(article.querySelector(".response__text"), this.texts[name]);
    if (parts.length < ENOUGH) return;
    const details = make("details", { className: "outline small" });
    const list = make("ul", { role: "list" });
    for (const part of parts) {
      const button = make("button", {
        type: "button",
        className: "outline__to",
        dir: "auto",
        textContent: words(part),
      });
      button.addEventListener("click", () => {
        part.tabIndex = -1;
        part.focus();
        part.scrollIntoView({ block: "start" });
      });
      const item = make("li", { className: `outline__${part.localName}` });
      item.append(button);
      list.append(item);
    }
    details.append(make("summary", { textContent: t("Outline of response {name}", { name }) }), list);
    article.querySelector(".response__text").before(details);
  }

  outline() {
    const first = this.root.querySelector(".outline");
    if (!first) return this.hint(t("No response is long enough for an outline"));
    first.open = true;
    first.querySelector("button").focus();
  }

  /** What differs between two responses, word by word. */
  async differences() {
    const dialog = document.querySelector("#differences");
    const [left, right] = dialog.querySelectorAll("select");
    if (!left.options.length || left.options.length !== this.responses.size) {
      for (const select of [left, right]) {
        select.replaceChildren(...[...this.responses.keys()].map((name) => make("option", { textContent: name })));
      }
      right.selectedIndex = 1;
    }
    const pane = dialog.querySelector("[data-difference]");
    const compare = async () => {
      const diff = await this.loadDiff().catch(() => null);
      const parts = diff && changes(diff, this.texts[left.value], this.texts[right.value], 800);
      if (parts) pane.replaceChildren(...shown(parts));
      else pane.textContent = t("These two are too different or too long for a word-by-word comparison.");
    };
    for (const select of [left, right]) select.onchange = compare;
    dialog.showModal();
    await compare();
  }
}
