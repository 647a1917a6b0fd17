/* Draws the charts of the performance pages with uPlot over the pictures that the server drew: with values under the
   pointer or by the arrow keys, and zoom by dragging, in all charts together. Data comes from one json_script element.
   Calls nobody; dashboard.js calls wsgiperfCharts.draw() after each refresh. */
"use strict";

window.wsgiperfCharts = (() => {
  const drawn = new Map(); // key of a chart -> {plot, names, chart, host}
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const found = [...drawn.values()].find((each) => each.host === target);
      if (found && target.clientWidth > 0) found.plot.setSize({ width: target.clientWidth, height: heightOf(target) });
    }
  });
  let zoom = fromHash();
  let isFollowing = false; // while one chart's zoom is carried to the others

  const root = () => document.getElementById("wsgiperf");
  const texts = () => JSON.parse(document.getElementById("wsgiperf-texts").textContent);
  /* As Django writes numbers and days: no other digits, and the one calendar. */
  const COMMON = { numberingSystem: "latn", calendar: "gregory" };
  const language = () => document.documentElement.lang || undefined;
  const colour = (name) => getComputedStyle(root()).getPropertyValue(`--w-${name}`).trim() || "#888";
  const heightOf = (host) => (host.closest(".wsgiperf-wide") ? 260 : 210);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  /* -- numbers and times, as formats.py writes them -- */

  function digits(value, least) {
    const size = Math.abs(value);
    const most = size === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.0995 ? 2 : size >= 0.00995 ? 3 : 4;
    return value.toLocaleString(language(), { ...COMMON, minimumFractionDigits: least ? 0 : Number.isInteger(value) ? 0 : most, maximumFractionDigits: most });
  }

  function show(unit, value, least = false) {
    const words = texts();
    if (value === null || value === undefined) return "–";
    if (unit === "share") return value.toLocaleString(language(), { ...COMMON, style: "percent", maximumFractionDigits: value && value < 0.1 ? 2 : 1 });
    if (unit === "rate") return fill(words.perSecond, { number: digits(value, least) });
    if (unit === "duration") {
      if (value >= 59.95) return long(Math.round(value), least);
      if (value >= 0.9995) return fill(words.seconds, { number: digits(value, least) });
      if (value >= 0.0009995 || value === 0) return fill(words.milliseconds, { number: digits(value * 1000, least) });
      return fill(words.microseconds, { number: digits(value * 1e6, least) });
    }
    return digits(value, least);
  }

  function long(whole, least) {
    const words = texts();
    const [seconds, minutes, hours] = [whole % 60, Math.floor(whole / 60) % 60, Math.floor(whole / 3600)];
    if (hours >= 24) return fill(words.days, { days: digits(Math.floor(hours / 24)), hours: hours % 24 });
    if (hours) return fill(words.hours, { hours, minutes });
    return least && !seconds ? fill(words.minutes, { number: minutes }) : fill(words.minutesSeconds, { minutes, seconds });
  }

  function zone() {
    const name = document.getElementById("wsgiperf-chart-data")?.dataset.timeZone;
    try {
      new Intl.DateTimeFormat(undefined, { timeZone: name });
      return name;
    } catch {
      return undefined; // an offset that has no name: the browser's own zone
    }
  }

  const clock = (seconds, options) => new Intl.DateTimeFormat(language(), { ...COMMON, timeZone: zone(), hourCycle: "h23", ...options }).format(seconds * 1000);
  const MINUTE = { hour: "2-digit", minute: "2-digit" };
  const DAY = { day: "numeric", month: "short" };

  function timeLabels(splits, step) {
    let day = "";
    return splits.map((at, index) => {
      const today = clock(at, DAY);
      const isNew = today !== day && index > 0;
      day = today;
      return step >= 86400 || isNew ? today : clock(at, MINUTE);
    });
  }

  /* To those who do not see what has changed. */
  function say(text) {
    document.getElementById("wsgiperf-said").textContent = text;
  }

  /* -- one chart -- */

  function roundUp(value) {
    if (!(value >= 1e-15)) return 1;
    const power = 10 ** Math.floor(Math.log10(value));
    return ([1, 2, 2.5, 5].find((step) => value <= step * power * 1.000001) ?? 10) * power;
  }

  /* Layers are drawn from the highest sum down, each over the one before. */
  function columns(chart) {
    if (!chart.stacked) return [chart.x, ...chart.lines.map((line) => line.values)];
    const sums = chart.x.map(() => 0);
    const layers = chart.lines.map((line) => line.values.map((value, at) => (sums[at] += value ?? 0)));
    return [chart.x, ...layers.reverse()];
  }

  const namesOf = (chart) => JSON.stringify([chart.stacked, chart.unit, chart.lines.map((line) => line.key)]);

  function options(chart, host, tip) {
    const lines = chart.stacked ? [...chart.lines].reverse() : chart.lines;
    const state = () => drawn.get(host.dataset.key);
    return {
      width: host.clientWidth || 300,
      height: heightOf(host),
      tzDate: (at) => (zone() ? uPlot.tzDate(new Date(at * 1000), zone()) : new Date(at * 1000)),
      legend: { show: false },
      padding: [10, 18, 0, 0],
      cursor: {
        y: false,
        points: { size: 7 },
        drag: { x: true, y: false, dist: 5 },
        sync: { key: "wsgiperf", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      },
      scales: {
        x: { time: true },
        y: { range: (_, low, high) => [0, roundUp(Math.max(high ?? 0, chart.ceiling))] },
      },
      axes: [
        {
          stroke: () => colour("quiet"),
          font: "12px system-ui, sans-serif",
          grid: { show: false },
          ticks: { stroke: () => colour("line"), size: 4 },
          size: 28,
          space: 64,
          values: (_, splits, __, ___, step) => timeLabels(splits, step),
        },
        {
          stroke: () => colour("quiet"),
          font: "12px system-ui, sans-serif",
          grid: { stroke: () => colour("line"), width: 1 },
          ticks: { show: false },
          gap: 6,
          space: 44,
          size: (_, values) => 14 + 6.6 * Math.max(4, ...(values ?? []).map((value) => value.length)),
          values: (_, splits) => splits.map((value) => show(chart.unit, value, true)),
        },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.label,
          stroke: () => (chart.stacked ? colour("card") : colour(line.key)),
          width: chart.stacked ? 0.75 : 1.75,
          fill: chart.stacked ? () => colour(line.key) : undefined,
          points: { show: false, size: 4, filter: (_, column) => lonely(columnOf(column)) },
        })),
      ],
      hooks: {
        draw: [(plot) => drawMarks(plot, state()?.chart ?? chart)],
        setCursor: [(plot) => showTip(plot, state()?.chart ?? chart, tip)],
        setScale: [(plot, name) => name === "x" && follow(plot)],
      },
    };

    function columnOf(column) {
      return columns(state()?.chart ?? chart)[column];
    }
  }

  /* Points with nothing on either side, of which a line shows nothing. */
  function lonely(values) {
    const found = values.flatMap((value, at) => (value != null && values[at - 1] == null && values[at + 1] == null ? [at] : []));
    return found.length ? found : null;
  }

  function drawMarks(plot, chart) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = colour("mark");
    const taken = new Set(); // several at once, as when all processes of a host start, are one line
    for (const mark of [...chart.marks].sort((one, other) => (other.kind === "deploy") - (one.kind === "deploy"))) {
      if (mark.at < plot.scales.x.min || mark.at > plot.scales.x.max) continue;
      const x = Math.round(plot.valToPos(mark.at, "x", true)) + 0.5;
      if (taken.has(x)) continue;
      for (const near of [-2, -1, 0, 1, 2]) taken.add(x + near);
      ctx.lineWidth = (mark.kind === "deploy" ? 1.5 : 1) * devicePixelRatio;
      ctx.setLineDash(mark.kind === "deploy" ? [] : [3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  function line(name, value, className) {
    const row = document.createElement("div");
    if (className) {
      const label = document.createElement("span");
      const swatch = document.createElement("span");
      swatch.className = `wsgiperf-swatch ${className}`;
      label.append(swatch, name);
      row.append(label, value);
    } else row.append(name, value);
    return row;
  }

  const isPointed = (plot) => plot.over.matches(":hover") || document.activeElement === plot.root;

  function told(chart, at) {
    const lines = chart.stacked ? [...chart.lines].reverse() : chart.lines;
    const rows = lines.map((each) => [each.label, show(chart.unit, each.values[at]), `wsgiperf-back-${each.key}`]);
    if (chart.stacked) rows.push([texts().total, show(chart.unit, chart.lines.reduce((sum, each) => sum + (each.values[at] ?? 0), 0)), ""]);
    return rows;
  }

  function showTip(plot, chart, tip) {
    const at = plot.cursor.idx;
    tip.hidden = at == null || plot.cursor.left < 0 || !isPointed(plot);
    if (tip.hidden) return;
    const time = document.createElement("b");
    const step = chart.x.length > 1 ? chart.x[1] - chart.x[0] : 60;
    time.textContent = clock(chart.x[at], { ...DAY, ...MINUTE, ...(step < 60 ? { second: "2-digit" } : {}) });
    tip.replaceChildren(time, ...told(chart, at).map((row) => line(...row)));
    for (const mark of chart.marks.filter((each) => Math.abs(each.at - chart.x[at]) <= step)) {
      const row = line(mark.text, "");
      row.className = "wsgiperf-tip-mark";
      tip.append(row);
    }
    const left = plot.over.offsetLeft + plot.cursor.left;
    const isRight = left > plot.root.clientWidth / 2;
    tip.style.transform = `translate(${Math.round(isRight ? left - tip.offsetWidth - 14 : left + 14)}px, ${plot.over.offsetTop + 6}px)`;
  }

  /* -- zoom: one for all charts, kept over refreshes, and in the address -- */

  function fromHash() {
    const found = /^#t=(\d+)-(\d+)$/.exec(location.hash);
    return found && Number(found[1]) < Number(found[2]) ? [Number(found[1]), Number(found[2])] : null;
  }

  function bounds(chart) {
    return [chart.x[0], chart.x[chart.x.length - 1]];
  }

  function follow(plot) {
    if (isFollowing) return;
    const own = [...drawn.values()].find((each) => each.plot === plot);
    if (!own) return;
    const { min, max } = plot.scales.x;
    const [first, last] = bounds(own.chart);
    setZoom(min <= first && max >= last ? null : [min, max]);
  }

  function setZoom(range) {
    zoom = range;
    isFollowing = true;
    for (const each of drawn.values()) applyZoom(each);
    isFollowing = false;
    const shown = zoom ?? bounds([...drawn.values()][0].chart);
    say(fill(texts().zoom, { from: clock(shown[0], { ...DAY, ...MINUTE }), to: clock(shown[1], { ...DAY, ...MINUTE }) }));
    history.replaceState(history.state, "", zoom ? `#t=${Math.floor(zoom[0])}-${Math.ceil(zoom[1])}` : location.pathname + location.search);
  }

  function applyZoom(each) {
    const [first, last] = bounds(each.chart);
    const [min, max] = zoom ?? [first, last];
    each.plot.setScale("x", { min, max: max > min ? max : min + 1 });
    each.bar.hidden = !zoom;
    each.host.dataset.zoomed = zoom ? "1" : "";
  }

  function zoomBy(plot, chart, factor) {
    const [first, last] = bounds(chart);
    const { min, max } = plot.scales.x;
    const middle = plot.cursor.idx == null ? (min + max) / 2 : chart.x[plot.cursor.idx];
    const half = ((max - min) * factor) / 2;
    const step = chart.x.length > 1 ? chart.x[1] - chart.x[0] : 60;
    if (half < step) return;
    const low = Math.max(first, middle - half);
    const high = Math.min(last, middle + half);
    setZoom(low <= first && high >= last ? null : [low, high]);
  }

  function onKey(event, plot, chart) {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (move !== undefined) {
      const visible = chart.x.map((_, at) => at).filter((at) => chart.x[at] >= plot.scales.x.min && chart.x[at] <= plot.scales.x.max);
      const from = plot.cursor.idx ?? (move > 0 ? visible[0] - 1 : visible[visible.length - 1] + 1);
      const at = Math.min(Math.max(from + move, visible[0]), visible[visible.length - 1]);
      plot.setCursor({ left: plot.valToPos(chart.x[at], "x"), top: plot.over.clientHeight / 2 });
      const words = told(chart, at).map(([name, value]) => `${name} ${value}`);
      say(`${clock(chart.x[at], MINUTE)}: ${words.join(", ")}`);
    } else if (event.key === "+" || event.key === "=") zoomBy(plot, chart, 0.5);
    else if (event.key === "-") zoomBy(plot, chart, 2);
    else if (event.key === "Escape" && zoom) setZoom(null);
    else return;
    event.preventDefault();
  }

  /* -- all charts -- */

  function make(key, chart, host, title) {
    host.dataset.key = key;
    host.replaceChildren();
    const tip = document.createElement("div");
    tip.className = "wsgiperf-tip";
    tip.hidden = true;
    tip.setAttribute("aria-hidden", "true");
    const bar = document.createElement("div");
    bar.className = "wsgiperf-zoom";
    bar.hidden = true;
    const reset = document.createElement("button");
    reset.type = "button";
    reset.className = "wsgiperf-button";
    reset.textContent = texts().reset;
    reset.addEventListener("click", () => setZoom(null));
    bar.append(reset);
    const each = { chart, host, bar, tip, names: namesOf(chart) };
    each.plot = new uPlot(options(chart, host, tip), columns(chart), host);
    const box = each.plot.root;
    box.tabIndex = 0;
    box.setAttribute("role", "application");
    box.setAttribute("aria-label", `${title}. ${texts().chart}`);
    box.addEventListener("keydown", (event) => onKey(event, each.plot, each.chart));
    box.addEventListener("blur", () => { tip.hidden = true; });
    host.append(tip, bar);
    return each;
  }

  function move(each, chart, host) {
    observer.unobserve(each.host);
    each.chart = chart;
    each.host = host;
    host.dataset.key = each.key;
    if (!host.contains(each.plot.root)) host.replaceChildren(each.plot.root, each.tip, each.bar);
    each.plot.setData(columns(chart), false);
  }

  function draw() {
    const holder = document.getElementById("wsgiperf-series");
    if (!holder || typeof uPlot === "undefined") return;
    const data = JSON.parse(holder.textContent);
    isFollowing = true;
    const seen = new Set();
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      const key = figure.dataset.chart;
      const host = figure.querySelector("[data-plot]");
      const chart = data[key];
      if (!host || !chart || !chart.x.length) continue;
      seen.add(key);
      let each = drawn.get(key);
      const focused = each && document.activeElement === each.plot.root;
      if (each && each.names === namesOf(chart)) move(each, chart, host);
      else {
        if (each) forget(key);
        each = make(key, chart, host, figure.querySelector("h2").textContent);
        each.key = key;
        drawn.set(key, each);
      }
      host.dataset.drawn = "1";
      observer.observe(host);
      applyZoom(each);
      if (focused) each.plot.root.focus({ preventScroll: true });
    }
    for (const key of [...drawn.keys()]) if (!seen.has(key)) forget(key);
    isFollowing = false;
  }

  function forget(key) {
    const each = drawn.get(key);
    observer.unobserve(each.host);
    each.plot.destroy();
    drawn.delete(key);
  }

  function repaint() {
    for (const each of drawn.values()) each.plot.redraw(false, true);
  }

  new MutationObserver(repaint).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "data-bs-theme", "class"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  document.addEventListener("DOMContentLoaded", draw);

  return { draw, zoom: () => zoom };
})();
