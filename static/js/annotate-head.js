// What stands around the responses: the drawer of guidelines, the prompt that stays in sight, and on a phone the way from one
// response to the other. All of it is there without scripts, too: as a plain detail, as a link, as a swipe. A plain script, which
// comes with that of the keys: one request less.

(() => {
  /** Where the drawer stands beside the work, as in annotate-head.css; on less it lies over it, closed when an item begins. */
  const ROOM = { on: matchMedia("(min-width: 75rem)"), unset: matchMedia("(min-width: 90rem)") };

  /** What the bars at the top and at the bottom of a phone take, and how much of a response has to be in sight; pixels. */
  const EDGE = 64;
  const ENOUGH = 240;

  let remembering = Promise.resolve();
  let isOpen = null; // the drawer, as it was left in this window

  /** Remember a choice with the person, one after the other; a lost request costs nothing but that. */
  function remember(values) {
    const body = new URLSearchParams(Object.entries(values).map(([name, value]) => [name, String(value)]));
    remembering = remembering.then(() =>
      fetch("/preferences/display", { method: "POST", body, keepalive: true }).catch(() => {}),
    );
  }

  class Around {
    /** `useView` brings what shows responses one at a time. */
    constructor(root, { useView }) {
      Object.assign(this, { root, useView });
      this.drawer = root.querySelector("[data-guidelines]");
      if (this.drawer) this.#settleDrawer();
      this.#settlePrompt();
      this.#settleResponses();
    }

    // ── Guidelines ──

    #settleDrawer() {
      const { dataset } = this.root;
      if (isOpen !== null) dataset.docked = isOpen ? "on" : "off"; // the server may not know it yet
      this.button = this.root.querySelector("[data-show-guidelines]");
      this.settle = () => this.#drawn(ROOM[dataset.docked]?.matches ?? false);
      this.settle();
      for (const room of Object.values(ROOM)) room.addEventListener("change", this.settle); // the window is made wider
      this.button.addEventListener("click", () => this.guidelines());
      this.drawer.addEventListener("toggle", () => this.drawer.open !== this.was && this.#toggled());
      this.drawer.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        this.guidelines();
      });
    }

    /** Open them, or close them from wherever one is; returns whether there are any. */
    guidelines() {
      if (!this.drawer) return false;
      this.drawer.open = !this.drawer.open;
      this.#toggled();
      return true;
    }

    #drawn(open) {
      this.was = open;
      this.drawer.open = open;
      this.button.setAttribute("aria-expanded", String(open));
    }

    #toggled() {
      const { open } = this.drawer;
      const inside = this.drawer.contains(document.activeElement) || document.activeElement === document.body;
      this.#drawn(open);
      if (open) {
        this.from = document.activeElement;
        this.drawer.querySelector("summary").focus({ preventScroll: true });
      } else if (inside) {
        const from = this.from?.isConnected && this.from !== document.body ? this.from : this.button;
        from.focus({ preventScroll: true });
      }
      if (!ROOM.on.matches) return;
      isOpen = open;
      remember({ guidelines: open });
    }

    // ── Prompt ──

    #settlePrompt() {
      const asked = this.root.querySelector(".prompt__asked");
      const pin = this.root.querySelector("[data-pin]");
      if (asked.scrollHeight > asked.clientHeight) asked.tabIndex = 0; // what scrolls has to be reached by keys
      // what else sticks to the top begins below it
      this.sizes = new ResizeObserver(() => {
        document.documentElement.style.setProperty("--pinned", `${asked.offsetHeight}px`);
      });
      this.sizes.observe(asked);
      pin?.setAttribute("aria-expanded", "false");
      pin?.addEventListener("click", (event) => {
        event.preventDefault();
        pin.setAttribute("aria-expanded", String(asked.toggleAttribute("data-shown")));
      });
    }

    // ── Responses on a phone ──

    #settleResponses() {
      const links = [...this.root.querySelectorAll("[data-to]")];
      if (!links.length) return;
      const row = this.root.querySelector(".responses");
      for (const link of links) {
        link.addEventListener("click", async (event) => {
          event.preventDefault();
          const name = link.dataset.to;
          if (this.root.dataset.layout === "single") (await this.useView()).show(name);
          if (row.scrollWidth > row.clientWidth) row.scrollLeft = this.#response(name).offsetLeft;
          this.#arrive(links, name);
        });
      }
      row.addEventListener("onscrollend" in window ? "scrollend" : "scroll", () => {
        const at = Math.round(row.scrollLeft / row.clientWidth);
        if (row.scrollWidth > row.clientWidth) this.#arrive(links, links[at].dataset.to);
      });
    }

    #response(name) {
      return this.root.querySelector(`[data-response="${name}"]`);
    }

    /** One is at the response `name`: the bar says so, and its text is in sight, however far down the other one was read. */
    #arrive(links, name) {
      for (const link of links) {
        if (link.dataset.to === name) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      const response = this.#response(name);
      const { top, bottom, height } = response.getBoundingClientRect();
      const seen = Math.min(bottom, window.innerHeight - EDGE) - Math.max(top, EDGE);
      if (this.root.dataset.layout === "stacked" || seen < Math.min(height, ENOUGH)) response.scrollIntoView();
    }

    leave() {
      this.sizes.disconnect();
      for (const room of Object.values(ROOM)) room.removeEventListener("change", this.settle);
    }
  }

  globalThis.corralAround = { Around, remember };
})();
