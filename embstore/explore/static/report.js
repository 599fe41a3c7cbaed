// The map of a report: one space at a time, layers by a slider, items by name.

const element = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const maps = Array.from(document.querySelectorAll("script.map"), (block) => unpack(bytes(block.textContent)));
const canvas = element("plane"), marks = element("marks");
let scatter, map, view, depth = 0, chosen = -1, playing = 0;

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function show(at) {
  map = maps[at];
  view = fitted(map);
  chosen = -1;
  depth = Math.min(depth, map.layers.length - 1);
  element("layer").max = String(map.layers.length - 1);
  element("layer").value = String(depth);
  const words = map.texts.slice(0, 2000).map((text) => Object.assign(document.createElement("option"), { value: text }));
  element("found").replaceChildren(...words);
  if (scatter) {
    scatter.setMap(map);
    const colours = new Uint8Array(4 * map.n);
    const [r, g, b] = colourOf("--accent").match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
    for (let item = 0; item < map.n; item++) colours.set([r, g, b, 150], 4 * item);
    scatter.setColours(colours);
  }
  find();
}

function draw() {
  if (!map) return;
  const ratio = devicePixelRatio || 1;
  for (const each of [canvas, marks]) {
    each.width = Math.round(each.clientWidth * ratio);
    each.height = Math.round(each.clientHeight * ratio);
  }
  if (scatter) scatter.draw(depth, view, (map.n > 20000 ? 3 : 5) * ratio, false);
  const near = Math.round(depth);
  element("depth").textContent = `layer ${map.layers[near]}`;
  const kept = map.kept[near];
  element("kept").textContent = `${map.n.toLocaleString("en")} of ${map.n_stored.toLocaleString("en")} items; method ${map.method}` +
    (kept === undefined || kept === null ? "." : `; keeps ${(100 * kept).toFixed(1)} % of the ten nearest neighbours in layer ${map.layers[near]}.`);
  drawMarks(ratio);
}

function pixel([x, y]) {
  const half = Math.min(marks.width, marks.height) / 2;
  return [marks.width / 2 + (x - view.x) / view.half * half, marks.height / 2 - (y - view.y) / view.half * half];
}

function drawMarks(ratio) {
  const pen = marks.getContext("2d");
  pen.clearRect(0, 0, marks.width, marks.height);
  if (chosen < 0) return;
  pen.strokeStyle = pen.fillStyle = colourOf("--ink");
  pen.lineWidth = ratio;
  pen.globalAlpha = 0.5;
  pen.beginPath();
  map.layers.forEach((_, layer) => { const [x, y] = pixel(placeAt(map, chosen, layer)); if (layer) pen.lineTo(x, y); else pen.moveTo(x, y); });
  pen.stroke();
  pen.globalAlpha = 1;
  const [x, y] = pixel(placeAt(map, chosen, depth));
  pen.beginPath();
  pen.arc(x, y, 5 * ratio, 0, 7);
  pen.stroke();
  pen.font = `${13 * ratio}px system-ui, sans-serif`;
  pen.textAlign = x > marks.width * 0.8 ? "right" : "left";
  const place = [x + (pen.textAlign === "left" ? 9 : -9) * ratio, y + 4 * ratio];
  pen.strokeStyle = colourOf("--panel");
  pen.lineWidth = 4 * ratio;
  pen.strokeText(map.texts[chosen], ...place);
  pen.fillText(map.texts[chosen], ...place);
}

function choose(at) {
  chosen = at;
  element("place").textContent = at < 0 ? "" : map.isOccurrence ? context(map, at).join("") : map.texts[at];
  draw();
}

function find() {
  const wanted = element("find").value;
  const at = wanted ? map.find(wanted)[0] : -1;
  choose(at === undefined ? -1 : at);
  if (wanted && at === undefined) element("place").textContent = `${wanted} is not on this map.`;
}

function nearest(event) {
  const box = canvas.getBoundingClientRect();
  const half = Math.min(box.width, box.height) / 2;
  const x = view.x + (event.clientX - box.left - box.width / 2) / half * view.half;
  const y = view.y - (event.clientY - box.top - box.height / 2) / half * view.half;
  let best = -1, least = (12 / half * view.half) ** 2;
  for (let at = 0; at < map.n; at++) {
    const [u, v] = placeAt(map, at, depth);
    const distance = (u - x) ** 2 + (v - y) ** 2;
    if (distance < least) [best, least] = [at, distance];
  }
  return best;
}

function step(layer) {
  depth = Math.max(0, Math.min(map.layers.length - 1, layer));
  element("layer").value = String(depth);
  draw();
}

function play() {
  if (playing) { cancelAnimationFrame(playing); playing = 0; element("play").textContent = "Play"; return; }
  if (depth >= map.layers.length - 1) depth = 0;
  element("play").textContent = "Pause";
  let last = performance.now();
  const advance = (now) => {
    step(depth + (now - last) / 900);
    last = now;
    if (depth >= map.layers.length - 1) { playing = 0; element("play").textContent = "Play"; return; }
    playing = requestAnimationFrame(advance);
  };
  playing = requestAnimationFrame(advance);
}

function start() {
  if (!maps.length || !maps.some((each) => each.n)) { element("map").hidden = true; return; }
  try { scatter = new Scatter(canvas); } catch (error) { element("place").textContent = error.message; }
  element("space").replaceChildren(...maps.map((each, at) => Object.assign(document.createElement("option"), { value: String(at), textContent: each.space })));
  element("space").addEventListener("change", (event) => show(Number(event.target.value)));
  element("layer").addEventListener("input", (event) => step(Number(event.target.value)));
  element("find").addEventListener("input", find);
  element("play").addEventListener("click", play);
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowLeft: -1 };
    if (moves[event.key]) { event.preventDefault(); step(Math.round(depth) + moves[event.key]); }
  });
  let from = null;
  canvas.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) { choose(nearest(event)); return; }
    const half = Math.min(canvas.clientWidth, canvas.clientHeight) / 2;
    view.x -= (event.clientX - from[0]) / half * view.half;
    view.y += (event.clientY - from[1]) / half * view.half;
    from = [event.clientX, event.clientY];
    draw();
  });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); view.half *= Math.exp(event.deltaY / 500); draw(); }, { passive: false });
  addEventListener("resize", draw);
  show(0);
}

start();
