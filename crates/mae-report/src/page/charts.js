"use strict";
{
  const { axis, charts } = JSON.parse(document.getElementById("data").textContent);
  const COLOURS = { faint: "var(--a)", bold: "var(--a)", marked: ["var(--c)", "var(--d)"], level: ["var(--b)", "var(--soft)"] };
  const PAD = { top: 10, right: 12, bottom: 24, left: 48 };

  // Names of runs and of metrics come from outside.
  const escaped = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const grouped = (value) => Math.round(value).toLocaleString("en-US");
  const short = (value) => String(Number(value.toPrecision(4)));
  const FORMATS = {
    number: (v) => (Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2) : short(v)),
    percent: (v) => `${Number((100 * v).toPrecision(3))}%`,
    count: (v) => (v >= 100 ? grouped(v) : short(v)),
    scientific: (v) => (v === 0 ? "0" : v.toExponential(2).replace(/\.?0+e/, "e")),
  };

  const written = (x) => (axis.name === "step" ? grouped(x) : short(x));
  /** A place on the axis of all charts. */
  function placed(x) {
    const epoch = axis.steps_per_epoch ? ` · epoch ${(x / axis.steps_per_epoch).toFixed(2)}` : "";
    return `${axis.name} ${written(x)}${epoch}`;
  }

  /** Round numbers between two others: about `most` of them. */
  function ticks(low, high, most) {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  }

  /** The same for a logarithmic axis: 1, 2 and 5 times powers of ten, or evenly spaced ones where those are too few. */
  function logTicks(low, high, most) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
      for (const m of [1, 2, 5]) found.push(Number((m * 10 ** e).toPrecision(12)));
    }
    const within = found.filter((v) => v >= low && v <= high);
    if (within.length > most) return within.filter((v) => Math.log10(v) % 1 === 0);
    return within.length >= 3 ? within : ticks(low, high, most).filter((v) => v > 0);
  }

  /** The lowest and the highest value to show. Of 50 values or more, the top 2% are cut off if they are far above the rest; the tooltip still shows them. */
  function extent(chart, log) {
    const values = chart.series.flatMap((s) => s.y).concat(chart.levels.map((l) => l.y)).filter((v) => !log || v > 0);
    values.sort((a, b) => a - b);
    let [low, high] = [values[0], values[values.length - 1]];
    if (log) return low < high ? [low / 1.05, high * 1.05] : [low / 2, high * 2];
    // Below this a share of time is nothing: what is left would be noise drawn large.
    const least = chart.from_zero && chart.format === "percent" ? 0.05 : 0;
    const usual = Math.max(values[Math.floor(0.98 * (values.length - 1))], least);
    if (values.length >= 50 && usual > 0 && high > 3 * usual) high = 1.3 * usual;
    high = Math.max(high, least);
    if (chart.from_zero || (low >= 0 && low < 0.4 * high)) low = 0;
    const height = high - low || Math.abs(high) || 1;
    return [low === 0 ? 0 : low - 0.06 * height, high + 0.06 * height];
  }

  /** The place of the point that is nearest to a step. */
  function nearest(x, step) {
    let [low, high] = [0, x.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (x[middle] < step) low = middle;
      else high = middle;
    }
    return step - x[low] <= x[high] - step ? low : high;
  }

  const all = [];
  const least = axis.name === "step" ? 1 : 1e-9;
  const last = Math.max(least, ...charts.flatMap((c) => c.series.map((s) => s.x[s.x.length - 1])));

  charts.forEach((chart, place) => {
    const write = FORMATS[chart.format];
    let marked = 0;
    for (const s of chart.series) s.colour ??= s.style === "marked" ? COLOURS.marked[marked++ % 2] : COLOURS[s.style];
    chart.levels.forEach((l, i) => (l.colour = COLOURS.level[i % 2]));

    const figure = document.createElement("figure");
    // The first goes over both columns, and so does one that would have no neighbour.
    const alone = place > 0 && place === charts.length - 1 && place % 2 === 1;
    figure.className = `card chart${alone ? " alone" : ""}`;
    figure.innerHTML =
      `<header><h3>${escaped(chart.title)}</h3>${chart.log ? '<button type="button" aria-pressed="false">log</button>' : ""}</header>` +
      `<div class="legend">${chart.series.map((s) => `<span class="${s.style}" style="--color:${s.colour}">${escaped(s.name)}</span>`).join("")}` +
      `${chart.levels.map((l) => `<span class="level" style="--color:${l.colour}">${escaped(l.name)}</span>`).join("")}</div>` +
      `<div class="plot"></div><div class="tip" hidden></div>`;
    document.getElementById("charts").append(figure);
    const [plot, tip] = [figure.querySelector(".plot"), figure.querySelector(".tip")];
    let log = false;
    let toX, toY, fromX, width, height;

    function draw() {
      width = Math.max(200, plot.clientWidth);
      height = place === 0 ? Math.round(Math.min(330, Math.max(230, width * 0.46))) : 176;
      const [low, high] = extent(chart, log);
      const [inner, tall] = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
      toX = (step) => PAD.left + (step / last) * inner;
      fromX = (x) => ((x - PAD.left) / inner) * last;
      const part = (v) => (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
      toY = (v) => PAD.top + (1 - part(v)) * tall;

      const at = (v) => v.toFixed(1);
      const usable = (v) => !log || v > 0;
      let svg = "";
      for (const v of (log ? logTicks : ticks)(low, high, height > 200 ? 7 : 5)) {
        svg += `<line class="grid" x1="${PAD.left}" x2="${width - PAD.right}" y1="${at(toY(v))}" y2="${at(toY(v))}"/>`;
        svg += `<text x="${PAD.left - 8}" y="${at(toY(v) + 4)}" text-anchor="end">${write(v)}</text>`;
      }
      svg += `<line class="axis" x1="${PAD.left}" x2="${width - PAD.right}" y1="${height - PAD.bottom}" y2="${height - PAD.bottom}"/>`;
      for (const v of ticks(0, last, Math.max(2, Math.floor(inner / 52)))) {
        const label = v >= 10000 ? `${v / 1000}k` : short(v);
        svg += `<text x="${at(toX(v))}" y="${height - 7}" text-anchor="middle">${label}</text>`;
      }
      svg += `<clipPath id="clip-${place}"><rect x="${PAD.left}" y="0" width="${inner + PAD.right}" height="${height - PAD.bottom + 1}"/></clipPath>`;
      svg += `<g clip-path="url(#clip-${place})">`;
      for (const l of chart.levels) {
        if (usable(l.y)) svg += `<path class="curve level" style="--color:${l.colour}" d="M${PAD.left},${at(toY(l.y))}H${width - PAD.right}"/>`;
      }
      for (const s of chart.series) {
        let d = "";
        let dots = "";
        s.x.forEach((step, i) => {
          if (!usable(s.y[i])) return;
          const [x, y] = [at(toX(step)), at(toY(s.y[i]))];
          d += `${d ? "L" : "M"}${x},${y}`;
          if (s.style === "marked" ? s.x.length <= 100 : s.x.length === 1) {
            dots += `<circle class="dot ring" style="--color:${s.colour}" cx="${x}" cy="${y}" r="4"/>`;
          }
        });
        svg += `<path class="curve ${s.style}" style="--color:${s.colour}" d="${d}"/>${dots}`;
      }
      const beyond = chart.series.reduce((n, s) => n + s.y.filter((v) => v > high).length, 0);
      if (beyond > 0) svg += `<text class="beyond" x="${width - PAD.right - 4}" y="${PAD.top + 12}" text-anchor="end">▲ ${beyond} beyond the axis</text>`;
      svg += `</g><g class="hover"></g>`;
      plot.innerHTML = `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img" aria-label="${escaped(chart.title)} by ${axis.name}">${svg}</svg>`;
    }

    /** Marks a step, with a box of numbers where the pointer is in this chart; `null` ends it. */
    function show(step, own) {
      const hover = plot.querySelector(".hover");
      tip.hidden = true;
      hover.innerHTML = "";
      if (step === null) return;
      const points = chart.series.map((s) => [s, nearest(s.x, step)]);
      const distance = ([s, i]) => Math.abs(s.x[i] - step);
      const [closest, spot] = points.reduce((a, b) => (distance(b) < distance(a) ? b : a));
      const middle = closest.x[spot];
      const x = toX(middle).toFixed(1);
      let svg = `<line class="cross" x1="${x}" x2="${x}" y1="${PAD.top}" y2="${height - PAD.bottom}"/>`;
      let rows = `<b>${placed(middle)}</b>`;
      for (const [s, i] of points) {
        const value = s.y[i];
        if (!log || value > 0) {
          const y = Math.max(PAD.top, toY(value)).toFixed(1);
          svg += `<circle class="dot ring ${s.style}" style="--color:${s.colour}" cx="${toX(s.x[i]).toFixed(1)}" cy="${y}" r="4"/>`;
        }
        const when = s.style === "marked" && s.x[i] !== middle ? ` at ${written(s.x[i])}` : "";
        rows += `<span><i style="--color:${s.colour}">${escaped(s.name)}${when}</i>${write(value)}</span>`;
      }
      for (const l of chart.levels) rows += `<span><i style="--color:${l.colour}">${escaped(l.name)}</i>${write(l.y)}</span>`;
      hover.innerHTML = svg;
      if (!own) return;
      tip.innerHTML = rows;
      tip.hidden = false;
      const scale = plot.clientWidth / width;
      const left = plot.offsetLeft + toX(middle) * scale;
      const right = left + 14 + tip.offsetWidth > figure.clientWidth;
      tip.style.left = `${right ? Math.max(4, left - 14 - tip.offsetWidth) : left + 14}px`;
      tip.style.top = `${plot.offsetTop + PAD.top + 4}px`;
    }

    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const step = Math.min(last, Math.max(0, fromX(((event.clientX - box.left) * width) / box.width)));
      for (const other of all) other(step, other === show);
    });
    plot.addEventListener("pointerleave", () => all.forEach((other) => other(null)));
    figure.querySelector("button")?.addEventListener("click", (event) => {
      log = !log;
      event.target.setAttribute("aria-pressed", log);
      draw();
    });
    all.push(show);
    draw();
    new ResizeObserver(() => plot.clientWidth !== width && draw()).observe(plot);
  });
  if (charts.length === 0) document.getElementById("charts").innerHTML = '<p class="note">No step was recorded.</p>';

  const pictures = [...document.querySelectorAll(".pictures img")];
  const [pick, shown, enlarge] = ["pick", "shown", "enlarge"].map((id) => document.getElementById(id));
  function select(chosen) {
    pictures.forEach((picture, i) => (picture.hidden = i !== chosen));
    shown.textContent = pictures[chosen].dataset.label;
  }
  if (pictures.length > 0) {
    pick.max = pictures.length - 1;
    pick.value = pictures.length - 1;
    pick.hidden = pictures.length === 1;
    pick.addEventListener("input", () => select(Number(pick.value)));
    enlarge.hidden = false;
    enlarge.addEventListener("click", () => {
      const wide = document.querySelector(".columns").classList.toggle("wide");
      enlarge.setAttribute("aria-pressed", wide);
    });
    select(pictures.length - 1);
  }
}
