// The trend: CSAT by day with its interval as a band, and n as bars below. The same as a table beside it.
"use strict";

(() => {
  const { board } = window;
  const { at, column, element, put, swap, words } = board;

  const bars = uPlot.paths.bars({ size: [0.7, 28], radius: 0.15 });
  let plot = null;
  let shown = "";
  let rows = [];

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const alpha = (name, percent) => `color-mix(in srgb, ${of(name)} ${percent}%, transparent)`;
    return { ink: of("--ink"), muted: of("--muted"), line: of("--line"), accent: of("--accent"), band: alpha("--accent", 20), edge: alpha("--accent", 55), bars: alpha("--edge", 55) };
  }

  function line({ day, n, csat, few }) {
    const date = words.day(day, true);
    if (few) return `${date}: too few ratings to show`;
    if (!csat) return `${date}: no ratings`;
    return `${date}: ${words.percent(csat.value)}, between ${words.bare(csat.low)} and ${words.percent(csat.high)}, n = ${words.count(n)}`;
  }

  // What is said when nothing is pointed at: the last day that has ratings.
  function point(index) {
    const row = rows[index] || rows.findLast((one) => one.csat) || rows.at(-1);
    put("pointed", row ? line(row) : "");
  }

  function options(width, height) {
    const colour = colours();
    const size = parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.75;
    const font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    const top = Math.max(4, ...rows.map((row) => row.n));
    const axis = { stroke: colour.muted, font, ticks: { show: false }, grid: { stroke: colour.line, width: 1 } };
    return {
      width,
      height,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 9, fill: colour.accent } },
      // The bars keep to the lowest quarter, below where CSAT usually is.
      scales: { x: { time: false, range: () => [-0.6, rows.length - 0.4] }, y: { range: () => [0, 100] }, n: { range: () => [0, top * 4] } },
      axes: [
        { ...axis, grid: { show: false }, size: size * 2.2, space: size * 5, incrs: [1, 2, 3, 5, 7, 10, 14], values: (_, splits) => splits.map((split) => (rows[split] ? words.day(rows[split].day) : "")) },
        { ...axis, scale: "y", size: size * 3.6, splits: () => [0, 25, 50, 75, 100], values: (_, splits) => splits.map((split) => `${split} %`) },
        { ...axis, scale: "n", side: 1, size: size * 2.8, grid: { show: false }, splits: () => (rows.some((row) => row.n) ? [top] : []), values: (_, splits) => splits.map((split) => `n ${words.count(split)}`) },
      ],
      bands: [{ series: [3, 2], fill: colour.band }],
      series: [
        {},
        { scale: "n", paths: bars, fill: colour.bars, width: 0, points: { show: false } },
        { scale: "y", stroke: colour.edge, width: 1, points: { show: false } },
        { scale: "y", stroke: colour.edge, width: 1, points: { show: false } },
        { scale: "y", stroke: colour.accent, width: 2.5, points: { show: true, size: 6, fill: colour.accent } },
      ],
      hooks: { setCursor: [(self) => point(self.cursor.idx)], drawSeries: [(self, series) => series === 2 && whiskers(self, colour.edge)] },
    };
  }

  // A day between two without ratings has no neighbour to draw a band to.
  function whiskers({ ctx, valToPos }, colour) {
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2 * devicePixelRatio;
    rows.forEach(({ csat }, index) => {
      if (!csat || rows[index - 1]?.csat || rows[index + 1]?.csat) return;
      const x = valToPos(index, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, valToPos(csat.low, "y", true));
      ctx.lineTo(x, valToPos(csat.high, "y", true));
      ctx.stroke();
    });
    ctx.restore();
  }

  function values() {
    const of = (pick) => rows.map((row) => (row.csat ? pick(row.csat) : null));
    return [rows.map((_, index) => index), rows.map((row) => row.n || null), of((csat) => csat.low), of((csat) => csat.high), of((csat) => csat.value)];
  }

  function rebuild() {
    plot?.destroy();
    const { clientWidth, clientHeight } = at("chart");
    plot = rows.length && clientWidth ? new uPlot(options(clientWidth, clientHeight), values(), at("chart")) : null;
    point();
  }

  function table() {
    const known = rows.filter((row) => row.n || row.few);
    if (!known.length) return swap("days", element("p", { className: "empty", textContent: "No ratings in these days." }));
    const lines = known.toReversed().map(({ day, n, csat, few }) => element("tr", {},
      element("th", { scope: "row", textContent: words.day(day, true) }),
      element("td", { textContent: few ? "too few" : csat ? words.percent(csat.value) : "–" }), element("td", { textContent: csat ? words.range(csat) : "–" }), element("td", { textContent: few ? "–" : words.count(n) })));
    const head = element("thead", {}, element("tr", {}, ...["Day", "CSAT", "95 % interval", "n"].map((text) => column(text))));
    swap("days", element("table", {}, element("caption", { className: "unseen", textContent: "CSAT by day, newest first" }), head, element("tbody", {}, ...lines)));
  }

  // `groups` are those of the summary by day; days without any conversation are not among them.
  board.draw.trend = (groups, days) => {
    const found = new Map(groups.map((group) => [group.by.day, group]));
    rows = days.map((day) => {
      const group = found.get(day);
      return { day, n: group?.ratings?.n || 0, csat: group?.ratings?.csat || null, few: Boolean(group?.insufficient) };
    });
    const now = JSON.stringify(rows);
    if (now === shown && plot) return;
    shown = now;
    rebuild();
    table();
  };

  new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = at("chart");
    if (!width) return;
    if (!plot) return rebuild();
    if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
  }).observe(at("chart"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
})();
