// The map of a report: one space at a time, layers by a slider, items by name.

import { context, fitted, isSample, placeAt, unpack } from "./mapdata.js";
import { drawOverlay } from "./overlay.js";
import { paint } from "./palette.js";
import { Scatter } from "./scatter.js";

const element = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const maps = Array.from(document.querySelectorAll("script.map"), (block) => unpack(bytes(block.textContent)));
const canvas = element("plane");
const panel = { overlay: element("marks"), map: null, view: null, depth: 0, query: [], near: [], hovered: null, selected: null, lasso: null, toScreen };
let scatter, playing = 0;

function showMap(at) {
  const map = maps[at];
  Object.assign(panel, { map, view: fitted(map), hovered: null, depth: Math.min(panel.depth, map.layers.length - 1) });
  panel.whole = panel.view.half;
  element("layer").max = String(map.layers.length - 1);
  element("layer").value = String(panel.depth);
  element("found").replaceChildren(...map.texts.slice(0, 2000).map((text) => Object.assign(document.createElement("option"), { value: text })));
  if (scatter) scatter.setMap(map);
  recolour();
  search();
}

function recolour() {
  if (scatter) scatter.setColours(paint(panel.map.n, null, null));
  redraw();
}

function redraw() {
  const { map, view, depth } = panel;
  const ratio = devicePixelRatio || 1;
  for (const each of [canvas, panel.overlay]) {
    each.width = Math.round(canvas.clientWidth * ratio);
    each.height = Math.round(canvas.clientHeight * ratio);
  }
  const size = Math.max(2.2, Math.min(9, 260 / Math.sqrt(map.n) * Math.sqrt(panel.whole / view.half)));
  if (scatter) scatter.draw(depth, view, size * ratio, false);
  drawOverlay(panel);
  const layer = map.layers[Math.round(depth)], kept = map.kept[Math.round(depth)] ?? null;
  element("depth").textContent = `layer ${layer}`;
  const items = map.n.toLocaleString("en"), method = { pca: "PCA", tsne: "t-SNE" }[map.method] || map.method;
  element("kept").textContent = `${method} of ${map.n < map.n_stored ? `${isSample(map) ? "a sample of " : ""}${items} of ${map.n_stored.toLocaleString("en")}` : items} items` +
    (kept === null ? "." : `; layer ${layer} keeps ${(100 * kept).toFixed(1)} % of the true ten nearest.`);
}

const pixels = () => Math.min(canvas.clientWidth, canvas.clientHeight) / 2 / panel.view.half;

function toScreen([x, y]) {
  return [canvas.clientWidth / 2 + (x - panel.view.x) * pixels(), canvas.clientHeight / 2 - (y - panel.view.y) * pixels()];
}

const textOf = (at) => (panel.map.isOccurrence ? context(panel.map, at).join("") : panel.map.texts[at]);

function search() {
  const wanted = element("find").value.trim();
  panel.query = wanted ? panel.map.find(wanted) : [];
  element("place").textContent = panel.query.length ? textOf(panel.query[0]) : wanted ? `${wanted} is not on this map.` : "";
  redraw();
}

function hover(at) {
  if (at === panel.hovered) return;
  panel.hovered = at;
  if (at !== null) element("place").textContent = textOf(at);
  redraw();
}

function nearest(event) {
  const box = canvas.getBoundingClientRect();
  let best = null, least = 12 ** 2;
  for (let at = 0; at < panel.map.n; at++) {
    const [x, y] = toScreen(placeAt(panel.map, at, panel.depth));
    const distance = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
    if (distance < least) [best, least] = [at, distance];
  }
  return best;
}

function step(layer) {
  panel.depth = Math.max(0, Math.min(panel.map.layers.length - 1, layer));
  element("layer").value = String(panel.depth);
  redraw();
}

function pause() {
  cancelAnimationFrame(playing);
  playing = 0;
  element("play").textContent = "Play";
}

function play() {
  const last = panel.map.layers.length - 1;
  if (playing) { pause(); return step(Math.round(panel.depth)); }
  if (panel.depth >= last) panel.depth = 0;
  element("play").textContent = "Pause";
  let before = performance.now();
  const advance = (now) => {
    step(panel.depth + Math.max(0, now - before) / 900);
    before = now;
    if (panel.depth < last) playing = requestAnimationFrame(advance);
    else pause();
  };
  playing = requestAnimationFrame(advance);
  return undefined;
}

function drag() {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return hover(nearest(event));
    panel.view.x -= (event.clientX - from[0]) / pixels();
    panel.view.y += (event.clientY - from[1]) / pixels();
    from = [event.clientX, event.clientY];
    return redraw();
  });
  canvas.addEventListener("dblclick", () => { panel.view = fitted(panel.map); redraw(); });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); panel.view.half *= Math.exp(event.deltaY / 500); redraw(); }, { passive: false });
}

function begin() {
  if (!maps.some((each) => each.n)) { element("map").hidden = true; return; }
  try { scatter = new Scatter(canvas, redraw); } catch (error) { element("place").textContent = error.message; }
  element("space").replaceChildren(...maps.map((each, at) => Object.assign(document.createElement("option"), { value: String(at), textContent: each.space })));
  element("space").addEventListener("change", (event) => showMap(Number(event.target.value)));
  element("layer").addEventListener("input", (event) => { pause(); step(Number(event.target.value)); });
  element("find").addEventListener("input", search);
  element("play").addEventListener("click", play);
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowLeft: -1 };
    if (moves[event.key]) { event.preventDefault(); step(Math.round(panel.depth) + moves[event.key]); }
  });
  drag();
  addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  showMap(0);
}

begin();
