// The rain of a place as a chart and a table.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420, HEIGHT = 200, LEFT = 40, BOTTOM = 24, TOP = 18;
const DRY = 0.1;  // mm/h; less is no rain, nor is it drawn on the map

function shape(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

const hour = (time) => time.slice(11, 16);
const number = (value) => value === null || value === undefined ? "–" : value < 10 ? value.toFixed(1) : value.toFixed(0);

function inWords(series) {
  const ahead = series.filter((one) => one.kind === "forecast");
  if (ahead.every((one) => one.mm_h === null)) return "no data here.";
  const wet = ahead.filter((one) => one.mm_h >= DRY);
  if (!wet.length) return `dry until ${hour(ahead[ahead.length - 1].time)} UTC.`;
  const most = wet.reduce((one, other) => other.mm_h > one.mm_h ? other : one);
  return `rain from ${hour(wet[0].time)} UTC, most at ${hour(most.time)}: ${number(most.mm_h)} mm/h.`;
}

// Draws into a box and a table; returns a sentence.
export function drawSeries(box, table, series) {
  const spread = (one) => {
    const levels = Object.keys(one.quantiles_mm_h ?? {}).map(Number).sort((a, b) => a - b);
    if (levels.length < 2) return null;
    const ends = [levels[0], levels[levels.length - 1]].map((level) => one.quantiles_mm_h[String(level)]);
    return ends.includes(null) ? null : { ends, levels: [levels[0], levels[levels.length - 1]] };
  };
  const largest = Math.max(1, ...series.flatMap((one) => [one.mm_h ?? 0, ...(spread(one)?.ends ?? [])]));
  const [first, last] = [series[0], series[series.length - 1]].map((one) => one.lead_minutes);
  const step = series.length > 1 ? (last - first) / (series.length - 1) : 5;
  const x = (minutes) => LEFT + (minutes - first + step / 2) / (last - first + step) * (WIDTH - LEFT - 4);
  const y = (rate) => HEIGHT - BOTTOM - Math.sqrt(rate / largest) * (HEIGHT - BOTTOM - TOP);
  const chart = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": inWords(series) });
  const text = { "font-size": 12, fill: "#444" };
  chart.append(shape("text", { x: 0, y: 12, ...text }, "mm/h"));
  for (const rate of [0, .5, 2, 5, 10, 30, 100].filter((one) => one <= largest)) {
    chart.append(shape("line", { x1: LEFT, x2: WIDTH, y1: y(rate), y2: y(rate), stroke: "#ddd" }));
    chart.append(shape("text", { x: LEFT - 6, y: y(rate) + 4, "text-anchor": "end", ...text }, String(rate)));
  }
  const wide = Math.max(2, .7 * (x(step) - x(0)));
  for (const one of series) {
    const middle = x(one.lead_minutes);
    if (one.mm_h === null) continue;
    chart.append(shape("rect", {
      x: middle - wide / 2, width: wide, y: y(one.mm_h), height: y(0) - y(one.mm_h),
      fill: one.kind === "observed" ? "#8a8a8a" : "#2663b5",
    }));
    const found = spread(one);
    if (found) {
      const [low, high] = found.ends.map(y);
      chart.append(shape("path", { d: `M${middle} ${low}V${high}M${middle - 3} ${low}h6M${middle - 3} ${high}h6`, stroke: "#d06000", "stroke-width": 2, fill: "none" }));
    }
  }
  chart.append(shape("line", { x1: x(step / 2), x2: x(step / 2), y1: TOP, y2: HEIGHT - BOTTOM, stroke: "#141414", "stroke-dasharray": "4 3" }));
  for (const one of [series[0], series.find((each) => each.lead_minutes === 0), series[series.length - 1]]) {
    if (!one) continue;
    const anchor = one === series[0] ? "start" : one.lead_minutes === 0 ? "middle" : "end";
    const edge = { start: LEFT, middle: x(one.lead_minutes), end: WIDTH }[anchor];
    chart.append(shape("text", { x: edge, y: HEIGHT - 6, "text-anchor": anchor, ...text }, hour(one.time)));
  }
  box.replaceChildren(chart);
  fill(table, series, spread);
  return inWords(series);
}

function fill(table, series, spread) {
  const chances = Object.keys(series[series.length - 1].probability ?? {})
    .sort((one, other) => one - other);
  const spreads = series.some(spread), levels = series.map(spread).find(Boolean)?.levels ?? [];
  const head = ["UTC", "mm/h", ...(spreads ? [levels.map((one) => `${Math.round(100 * one)}`).join("–") + " %"] : []), ...chances.map((one) => `P ≥ ${one}`)];
  const row = (cells, name) => {
    const made = document.createElement("tr");
    made.append(...cells.map((cell) => Object.assign(document.createElement(name), { textContent: cell })));
    return made;
  };
  table.tHead.replaceChildren(row(head, "th"));
  table.tBodies[0].replaceChildren(...series.map((one) => {
    const found = spread(one);
    const cells = [hour(one.time), number(one.mm_h)];
    if (spreads) cells.push(found ? found.ends.map(number).join("–") : "");
    for (const name of chances) {
      const share = one.probability?.[name];
      cells.push(share === undefined || share === null ? "" : `${Math.round(100 * share)} %`);
    }
    return Object.assign(row(cells, "td"), { className: one.kind });
  }));
  table.hidden = false;
}
