// Plots of the team and of a person. Each draws the table beside it, which says the same to those who cannot see it.

import { axis, colour, HEIGHT, whenColoursChange } from "./plot-parts.js";
import { region, t, tn } from "./text.js";

const DAY = 86_400;
const COLOURS = ["--accent", "--warn", "--good", "--ink-soft", "--line-strong"];

/** What a table says: days in seconds since 1970, and for each column its name, numbers and texts. */
function read(table) {
  const [first, ...heads] = table.tHead.rows[0].cells;
  const rows = [...table.tBodies[0].rows];
  return {
    of: first.textContent,
    days: rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000),
    columns: heads.map((head, place) => {
      const cells = rows.map((row) => row.cells[place + 1]);
      return {
        label: head.textContent,
        values: cells.map(({ dataset }) => (dataset.value === undefined ? null : Number(dataset.value))),
        texts: cells.map((cell) => cell.textContent),
      };
    }),
  };
}

/** The legend says what the table does, and not where on the canvas a value stands. */
function says({ label, texts }) {
  return { label, value: (_, __, ___, row) => (row === null ? "–" : texts[row]) };
}

/** Bars on top of each other: each series reaches from the axis to the sum of its own and all that follow. */
function stack(columns) {
  const sums = columns.map((_, place) =>
    columns[0].values.map((__, row) => columns.slice(place).reduce((sum, { values }) => sum + values[row], 0)),
  );
  const paths = globalThis.uPlot.paths.bars({ size: [0.8, 32] });
  const series = columns.map((column, place) => {
    const stroke = colour("--surface");
    return { ...says(column), paths, stroke, width: 1, fill: colour(COLOURS[place]), points: { show: false } };
  });
  return { data: sums, series };
}

function line(columns) {
  const stroke = colour("--accent");
  const points = { show: true, size: 6, fill: stroke, stroke };
  return {
    data: columns.map(({ values }) => values),
    series: columns.map((column) => ({ ...says(column), stroke, width: 1.75, points })),
  };
}

/** A line in its band; a share lies between 0 and 100. */
function band(columns) {
  const { data, series } = line(columns);
  const edge = { stroke: colour("--line-strong"), width: 1, points: { show: false } };
  return {
    data,
    series: series.map((each, place) => (place ? { ...each, ...edge } : each)),
    bands: [{ series: [3, 2], fill: colour("--accent-soft") }],
    range: [0, 100],
  };
}

const KINDS = { stack, line, band };

/** One sentence for those who do not see the picture; the table has the numbers. */
function describe({ days, columns }) {
  const said = columns.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    if (!known.length) return t("{label}: nothing yet", { label });
    const [least, most] = [Math.min(...known), Math.max(...known)].map((value) => value.toLocaleString(region()));
    return t("{label}: from {least} to {most}", { label, least, most });
  });
  const rows = tn("{n} row", "{n} rows", days.length);
  return t("{said}; {rows}. The table below holds the numbers.", { said: said.join("; "), rows });
}

/** Days as the reader writes them; days are counted in UTC. */
function named(_, days) {
  const words = new Intl.DateTimeFormat(region(), { month: "short", day: "numeric", timeZone: "UTC" });
  return days.map((seconds) => words.format(new Date(seconds * 1000)));
}

function draw(canvas) {
  const found = read(document.getElementById(canvas.dataset.table));
  const { data, series, bands, range } = KINDS[canvas.dataset.plot](found.columns);
  const [first, last] = [found.days[0], found.days.at(-1)];
  const step = found.days.length > 1 ? found.days[1] - first : DAY;
  canvas.hidden = false;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", describe(found));
  const options = {
    width: canvas.clientWidth,
    height: HEIGHT,
    tzDate: (seconds) => globalThis.uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    scales: {
      x: { range: () => [first - step / 2, last + step / 2] },
      y: { range: range ?? ((_, __, most) => [0, Math.max(1, most * 1.05)]) },
    },
    cursor: { drag: { x: false, y: false } },
    axes: [
      axis({ size: 32, space: 64, incrs: [1, 2, 7, 14, 28, 91].map((days) => days * DAY), values: named }),
      axis({ size: 48 }),
    ],
    series: [{ label: found.of, value: "{YYYY}-{MM}-{DD}" }, ...series],
    bands,
  };
  const chart = new globalThis.uPlot(options, [found.days, ...data], canvas);
  const size = new ResizeObserver(() => chart.setSize({ width: canvas.clientWidth, height: HEIGHT }));
  size.observe(canvas);
  return () => {
    size.disconnect();
    chart.destroy();
  };
}

const canvases = [...document.querySelectorAll("[data-team] [data-plot]")];
if (globalThis.uPlot && canvases.length) {
  let ends = canvases.map(draw);
  whenColoursChange(() => {
    for (const end of ends) end();
    ends = canvases.map(draw);
  });
}
