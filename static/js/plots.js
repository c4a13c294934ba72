// Live curves of a training run. The page holds the same numbers as a table; this draws them and follows the run.
// Points come from `events.json?after=seq`: one row a step, and a step that a resumed run repeats replaces the older one.

import { HEIGHT, axis, colour, figure, labels, whenColoursChange } from "./plot-parts.js";
import { t } from "./text.js";

const POLL_MS = 2000;
const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const RANGES = { accuracy: [0, 1], strengths: [0, 1] };
/** How the lines of one plot are told apart without their colours: by dashes, and by points that are full or hollow. */
const STYLES = [
  { colour: "--accent", css: "solid" },
  { colour: "--good", dashes: [10, 5], css: "dashed", hollow: true },
  { colour: "--warn", dashes: [2, 4], css: "dotted" },
  { colour: "--ink-soft", dashes: [10, 4, 2, 4], css: "double", hollow: true },
];

/** The series of each plot: which number, how it is drawn, and in which colour of tokens.css. */
function plots(marginKey, strengths) {
  return {
    loss: [{ key: "loss", label: t("Loss"), colour: "--accent" }],
    accuracy: [
      { key: "rewards/accuracies", label: t("Batch"), colour: "--accent" },
      { key: "held_out/accuracy", label: t("Held-out"), colour: "--good", dots: true },
      { key: "baseline", label: t("Held-out, untrained"), colour: "--ink-soft", dashes: [5, 4], css: "dashed" },
    ],
    strengths: strengths.map((strength, place) => ({ ...strength, ...STYLES[place], marks: true })),
    margins: [
      { key: "rewards/margins", label: t("Batch"), colour: "--accent" },
      { key: marginKey, label: t("Held-out"), colour: "--good", dots: true },
    ],
  };
}

function series({ label, colour: name, dots, dashes, marks, hollow }) {
  const stroke = colour(name);
  const fill = hollow ? colour("--surface") : stroke;
  return {
    label,
    stroke,
    width: dots ? 0 : 1.75,
    dash: dashes,
    spanGaps: !dots,
    points: dots || marks ? { show: true, size: 8, width: 1.75, fill, stroke } : { show: false },
    value: (_, value) => (value === null || value === undefined ? "–" : figure(value, 3)),
  };
}

class Plot {
  constructor(figure, lines) {
    this.figure = figure;
    this.canvas = figure.querySelector(".plot__canvas");
    this.lines = lines;
    this.range = RANGES[figure.dataset.plot];
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  resize() {
    this.chart?.setSize({ width: this.canvas.clientWidth, height: HEIGHT });
  }

  /** The legend's boxes have the dashes of their lines. */
  markers() {
    const css = (place) => this.lines[place - 1]?.css ?? "solid";
    return { dash: (_, place) => css(place), width: (_, place) => (css(place) === "double" ? 4 : 2) };
  }

  columns(rows) {
    return [rows.map((row) => row.step), ...this.lines.map(({ key }) => rows.map((row) => row[key] ?? null))];
  }

  draw(rows) {
    const data = this.columns(rows);
    if (this.chart) {
      this.chart.setData(data);
    } else {
      const options = {
        width: this.canvas.clientWidth,
        height: HEIGHT,
        scales: { x: { time: false }, y: this.range ? { range: this.range } : {} },
        legend: { live: true, markers: this.markers() },
        cursor: { drag: { x: false, y: false } },
        axes: [axis({ incrs: WHOLE_STEPS, size: 32, values: labels }), axis({ size: 56, values: labels })],
        series: [{ label: t("Step") }, ...this.lines.map(series)],
      };
      this.chart = new globalThis.uPlot(options, data, this.canvas);
    }
    this.describe(rows);
  }

  describe(rows) {
    const said = this.lines.map(({ key, label }) => {
      const values = rows.map((row) => row[key]).filter((value) => typeof value === "number");
      if (!values.length) return t("{label}: nothing yet", { label });
      return t("{label}: from {first} to {last}", {
        label,
        first: figure(values[0], 2),
        last: figure(values.at(-1), 2),
      });
    });
    const lines = said.join("; ");
    this.canvas.setAttribute("role", "img"); // together with its name: an image without one says nothing
    this.canvas.setAttribute(
      "aria-label",
      rows.length
        ? t("{lines}; {n} steps. The table below holds the numbers.", { lines, n: rows.at(-1).step })
        : t("{lines}; no step yet. The table below holds the numbers.", { lines }),
    );
  }

  forget() {
    this.chart?.destroy();
    this.chart = undefined;
  }
}

class Run {
  constructor(section) {
    this.url = section.dataset.plots;
    const columns = [...section.querySelectorAll("[data-key]")].map((head) => head.dataset);
    this.keys = columns.map(({ key }) => key);
    this.body = section.querySelector("[data-plot-rows]");
    this.steps = new Map();
    this.after = -1;
    const margin = this.keys.find((key) => /^held_out\/.*margins?$/.test(key));
    const lines = plots(
      margin,
      columns.filter(({ strength }) => strength).map(({ key, strength }) => ({ key, label: strength })),
    );
    this.plots = [...section.querySelectorAll("[data-plot]")].map((f) => new Plot(f, lines[f.dataset.plot]));
  }

  async follow() {
    for (;;) {
      const news = await this.ask();
      if (news) {
        this.take(news);
        if (news.done) return;
        if (news.points.length >= 1000) continue;
      }
      await new Promise((resolve) => setTimeout(resolve, document.hidden ? POLL_MS * 5 : POLL_MS));
    }
  }

  /** What is new, or nothing while the server is away: the next turn asks again. */
  async ask() {
    try {
      const answer = await fetch(`${this.url}?after=${this.after}`, { headers: { accept: "application/json" } });
      return answer.ok ? await answer.json() : undefined;
    } catch {
      return undefined;
    }
  }

  take(news) {
    this.after = news.last;
    this.baseline = news.baseline ?? this.baseline;
    for (const point of news.points) {
      this.steps.set(point.step, { ...this.steps.get(point.step), ...point });
    }
    this.draw();
    if (news.points.length) this.fillTable();
  }

  rows() {
    const rows = [...this.steps.values()].sort((one, other) => one.step - other.step);
    return rows.map((row) => ({ ...row, baseline: this.baseline }));
  }

  draw() {
    const rows = this.rows();
    for (const plot of this.plots) plot.draw(rows);
  }

  redraw() {
    for (const plot of this.plots) plot.forget();
    this.draw();
  }

  fillTable() {
    this.body.replaceChildren(
      ...this.rows().map((row) => {
        const line = document.createElement("tr");
        const head = document.createElement("th");
        head.scope = "row";
        head.textContent = row.step;
        line.append(head);
        for (const key of this.keys) {
          const cell = document.createElement("td");
          cell.className = "number";
          cell.textContent = typeof row[key] === "number" ? figure(row[key], 4) : "";
          line.append(cell);
        }
        return line;
      }),
    );
  }
}

const section = document.querySelector("[data-plots]");
if (section && globalThis.uPlot) {
  const run = new Run(section);
  whenColoursChange(() => run.redraw());
  run.follow();
}
