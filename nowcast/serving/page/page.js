// The map: frames to play and to scrub, layers, a place. All it knows is from this server.
import { drawSeries } from "/series.js";

const at = (id) => document.getElementById(id);
const REFRESH_MS = 20000, FRAME_MS = 350, HOLD_MS = 1400;
let shown = null;      // of /latest.json
let images = new Map();  // address -> its picture
let view = [0, 0, 1, 1];  // left, top, right, bottom of what is drawn, as shares of the frame
let number = 0, timer = 0, place = null;

const layer = () => shown.layers.find((one) => one.name === at("layer").value) ?? shown.layers[0];
const clock = (text) => `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;

async function refresh() {
  try {
    const answer = await fetch("/latest.json");
    if (answer.ok) take(await answer.json());
    else at("status").textContent = `The server answers ${answer.status}; asking again.`;
  } catch {
    at("status").textContent = "The server does not answer; asking again.";
    at("status").className = "old";
  }
}

function take(found) {
  tellHealth(found);
  if (!found.layers) return;
  const fresh = !shown || shown.init !== found.init;
  const first = !shown;
  shown = found;
  if (!fresh) return;
  const before = at("layer").value;
  at("archive").textContent = shown.archive;
  at("search").hidden = !shown.has_grid;
  at("layer").replaceChildren(...shown.layers.map((one) => new Option(one.title, one.name)));
  if (shown.layers.some((one) => one.name === before)) at("layer").value = before;
  at("credits").replaceChildren(...shown.credits.map((text) => element("li", text)));
  shape();
  chooseLayer(first);
  if (place) ask(place);
}

function tellHealth({ init, model, health }) {
  const parts = [];
  if (init) {
    const minutes = Math.round(health.age_minutes);
    const age = minutes < 120 ? `${minutes} min` : minutes < 2880 ? `${Math.round(minutes / 60)} h`
      : `${Math.round(minutes / 1440)} days`;
    parts.push(`Forecast of ${clock(init)}, ${age} old, by ${health.rung ?? model}`);
    if (health.rung_reason) parts.push(`(${health.rung_reason})`);
    if (!health.ok) parts.push("– too old");
  } else parts.push("Waiting for the first forecast …");
  if (health.fault) parts.push(`– a newer one cannot be read: ${health.fault}`);
  at("status").textContent = parts.join(" ");
  at("status").className = health.ok ? "" : "old";
}

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function shape() {
  // A margin around what has data, and no more of the frame.
  const [left, top, right, bottom] = shown.covered;
  view = [Math.max(0, left - .02), Math.max(0, top - .02), Math.min(1, right + .02), Math.min(1, bottom + .02)];
  const wide = view[2] - view[0], high = view[3] - view[1];
  const ratio = shown.aspect * wide / high;
  at("map").style.aspectRatio = `${ratio}`;
  const canvas = at("frame");
  canvas.width = Math.min(1600, Math.max(800, Math.round(wide * shown.width)));
  canvas.height = Math.round(canvas.width / ratio);
  const lines = at("lines");
  lines.hidden = !shown.map;
  if (shown.map) {
    lines.src = shown.map;
    Object.assign(lines.style, {
      inset: "auto", left: `${-100 * view[0] / wide}%`, top: `${-100 * view[1] / high}%`,
      width: `${100 / wide}%`, height: `${100 / high}%`,
    });
  }
  drawPlaces();
  drawBar();
}

const inView = (x, y) => [(x - view[0]) / (view[2] - view[0]), (y - view[1]) / (view[3] - view[1])];

function drawPlaces() {
  const taken = [], box = at("map").getBoundingClientRect();
  at("places").replaceChildren();
  for (const { name, x, y } of shown.places) {
    const [across, down] = inView(x, y);
    const left = across * box.width, top = down * box.height, right = left + 16 + 8 * name.length;
    const outside = left < 8 || top < 12 || right > box.width || top > box.height - 50;
    const clash = taken.some((one) => left < one[2] && one[0] < right && Math.abs(top - one[1]) < 26);
    if (outside || clash) continue;
    taken.push([left - 12, top, right]);
    const label = element("span", name);
    label.style.left = `${100 * across}%`;
    label.style.top = `${100 * down}%`;
    at("places").append(label);
  }
}

function drawBar() {
  at("bar").hidden = !shown.km_per_pixel;
  if (!shown.km_per_pixel) return;
  const whole = shown.km_per_pixel * shown.width * (view[2] - view[0]);
  const ten = 10 ** Math.floor(Math.log10(whole / 4));
  const length = [5, 2, 1].map((part) => part * ten).find((one) => one <= whole / 4);
  at("bar").firstElementChild.textContent = `${length} km`;
  at("bar").style.width = `${100 * length / whole}%`;
}

function chooseLayer(first) {
  const { frames, legend, unit } = layer();
  const time = first ? null : at("time").dataset.time;
  const same = frames.findIndex((one) => one.time === time);
  const start = frames.findIndex((one) => one.kind === "forecast");
  number = same >= 0 ? same : Math.max(0, start - 1);
  at("scrub").max = frames.length - 1;
  at("ticks").replaceChildren(
    ...[frames[0], frames[frames.length - 1]].map((one) => element("span", lead(one))));
  const entries = legend.map(([label, colour]) => swatch(label, colour));
  at("legend").replaceChildren(
    ...entries, element("li", unit, "unit"), swatch("no data", "#b0b0b0"));
  const kept = new Map();
  for (const { url } of frames) {
    const picture = images.get(url) ?? Object.assign(new Image(), { src: url });
    picture.onload = () => layer().frames[number]?.url === url && draw();
    kept.set(url, picture);
  }
  images = kept;
  go(number);
}

function swatch(label, colour) {
  const item = element("li"), box = element("i");
  box.style.background = colour;
  item.append(box, label);
  return item;
}

const lead = ({ lead_minutes: minutes }) => minutes > 0 ? `+${minutes} min` : minutes < 0 ? `−${-minutes} min` : "+0 min";

function go(to) {
  if (!shown) return;
  const frames = layer().frames;
  number = (to + frames.length) % frames.length;
  const one = frames[number], seen = one.kind === "observed";
  at("scrub").value = number;
  const told = `${seen ? "observed" : "forecast"} ${lead(one)}, ${clock(one.time)}`;
  at("scrub").setAttribute("aria-valuetext", told);
  at("time").textContent = told;
  at("time").className = seen ? "observed" : "";
  at("time").dataset.time = one.time;
  draw();
}

function draw() {
  const picture = images.get(layer().frames[number].url), canvas = at("frame");
  if (!picture?.complete || !picture.naturalWidth) return;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, view[0] * shown.width, view[1] * shown.height,
    (view[2] - view[0]) * shown.width, (view[3] - view[1]) * shown.height,
    0, 0, canvas.width, canvas.height);
}

function play(on) {
  clearTimeout(timer);
  timer = 0;
  at("play").textContent = on ? "Pause" : "Play";
  at("play").setAttribute("aria-pressed", String(on));
  if (!on || !shown) return;
  const step = () => {
    go(number + 1);
    timer = setTimeout(step, number === layer().frames.length - 1 ? HOLD_MS : FRAME_MS);
  };
  timer = setTimeout(step, FRAME_MS);
}

async function ask(query) {
  const answer = await fetch(`/point?${new URLSearchParams(query)}`);
  const found = await answer.json();
  if (!answer.ok) {
    at("place").textContent = typeof found.detail === "string" ? found.detail
      : "Expected a latitude from -90 to 90 and a longitude from -360 to 360.";
    return;
  }
  const { row, column, latitude, longitude, series } = found;
  place = { row, column };
  const [x, y] = inView((column + .5) / shown.width, (row + .5) / shown.height);
  at("mark").hidden = x < 0 || x > 1 || y < 0 || y > 1;
  at("mark").style.left = `${100 * x}%`;
  at("mark").style.top = `${100 * y}%`;
  const degrees = latitude === null ? "" : `${latitude.toFixed(2)}, ${longitude.toFixed(2)}: `;
  if (latitude !== null) {
    at("lat").value = latitude.toFixed(3);
    at("lon").value = longitude.toFixed(3);
  }
  at("place").textContent = degrees + drawSeries(at("series"), at("numbers"), series);
}

function move(rows, columns) {
  const middle = { row: Math.floor(shown.height * (view[1] + view[3]) / 2), column: Math.floor(shown.width * (view[0] + view[2]) / 2) };
  const step = Math.max(1, Math.round(shown.width / 100)), from = place ?? middle;
  const within = (value, most) => Math.min(most - 1, Math.max(0, value));
  ask({ row: within(from.row + rows * step, shown.height), column: within(from.column + columns * step, shown.width) });
}

at("play").onclick = () => play(!timer);
at("back").onclick = () => { play(false); go(number - 1); };
at("next").onclick = () => { play(false); go(number + 1); };
at("scrub").oninput = (event) => { play(false); go(Number(event.target.value)); };
at("layer").onchange = () => chooseLayer(false);
at("map").onclick = (event) => {
  if (!shown) return;
  const box = at("map").getBoundingClientRect();
  const x = view[0] + (event.clientX - box.left) / box.width * (view[2] - view[0]);
  const y = view[1] + (event.clientY - box.top) / box.height * (view[3] - view[1]);
  const row = Math.floor(y * shown.height), column = Math.floor(x * shown.width);
  ask({ row: Math.min(shown.height - 1, Math.max(0, row)), column: Math.min(shown.width - 1, Math.max(0, column)) });
};
at("search").onsubmit = (event) => {
  event.preventDefault();
  const degrees = ["lat", "lon"].map((id) => at(id).value.trim().replace(",", "."));
  ask({ lat: degrees[0], lon: degrees[1] });
};
document.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|BUTTON)$/.test(event.target.tagName)) return;
  const moves = { w: [-1, 0], s: [1, 0], a: [0, -1], d: [0, 1] };
  if (event.key === " ") play(!timer);
  else if (event.key === "ArrowLeft") { play(false); go(number - 1); }
  else if (event.key === "ArrowRight") { play(false); go(number + 1); }
  else if (moves[event.key.toLowerCase()]) move(...moves[event.key.toLowerCase()]);
  else return;
  event.preventDefault();
});
addEventListener("resize", () => shown && drawPlaces());
setInterval(refresh, REFRESH_MS);
refresh();
