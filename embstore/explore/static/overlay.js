// Draw over the items: labels that do not collide, the searched text with its neighbours and trail, the lasso.

import { shortened, shown } from "./dom.js";
import { placeAt } from "./mapdata.js";
import { placedAt } from "./newtext.js";
import { ink, shades } from "./palette.js";

const CHECKED = 1500;
const SAME_TEXT_PIXELS = 40; // between labels of the same shortened text

export function drawOverlay(panel) {
  const { overlay, map, depth } = panel;
  const context = overlay.getContext("2d");
  const scale = devicePixelRatio || 1;
  const width = overlay.width / scale, height = overlay.height / scale;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!map) return;
  const colours = { accent: ink("accent"), ink: ink("ink"), bg: ink("bg"), muted: ink("muted") };
  const at = (item) => panel.toScreen(placeAt(map, item, depth));
  const trail = panel.query.length === 1 ? map.layers.map((_, layer) => placeAt(map, panel.query[0], layer)) : panel.placed?.places;
  if (trail) drawTrail(context, trail.filter(Boolean).map((place) => panel.toScreen(place)), colours);
  for (const item of panel.near) dot(context, at(item), 4, colours.accent, colours.bg);
  const isOne = panel.query.length === 1;
  const shade = panel.found && !isOne ? shades(panel.found) : null; // of several occurrences, those of a colour go together
  const drawn = shade && panel.found.categories ? [...panel.query].sort((a, b) => (panel.found.values[b] ?? Infinity) - (panel.found.values[a] ?? Infinity)) : panel.query;
  for (const item of drawn) dot(context, at(item), isOne ? 5.5 : 4, shade ? `rgb(${shade(item)})` : colours.accent, isOne ? colours.ink : colours.bg);
  const placed = panel.placed && placedAt(panel.placed, depth);
  if (placed) drawPlaced(context, panel.toScreen(placed), panel.placed.isExact, colours);
  if (panel.hovered !== null) ring(context, at(panel.hovered), 7, colours.ink);
  drawLabels(context, panel, width, height, at, placed && panel.toScreen(placed), colours);
  if (panel.lasso) drawLasso(context, panel, colours);
}

function dot(context, [x, y], radius, fill, stroke) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = stroke;
  context.stroke();
}

function ring(context, [x, y], radius, stroke) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 1.5;
  context.strokeStyle = stroke;
  context.stroke();
}

// The way of the searched text through the layers, its start marked by a small ring.
function drawTrail(context, places, colours) {
  context.beginPath();
  places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.5;
  context.globalAlpha = 0.7;
  context.stroke();
  context.globalAlpha = 1;
  for (const place of places) dot(context, place, 2, colours.bg, colours.accent);
}

// A text that is not stored: a diamond at its exact place, or a dashed ring about an approximate one.
function drawPlaced(context, [x, y], isExact, colours) {
  context.beginPath();
  if (isExact) for (const [dx, dy] of [[0, -7], [7, 0], [0, 7], [-7, 0]]) context.lineTo(x + dx, y + dy);
  else context.arc(x, y, 10, 0, 2 * Math.PI);
  context.closePath();
  context.lineWidth = 1.8;
  context.fillStyle = colours.bg;
  context.globalAlpha = isExact ? 1 : 0.6;
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = colours.accent;
  context.setLineDash(isExact ? [] : [3, 3]);
  context.stroke();
  context.setLineDash([]);
  if (!isExact) dot(context, [x, y], 2, colours.accent, colours.accent);
}

function drawLasso(context, panel, colours) {
  context.beginPath();
  panel.lasso.forEach((place, i) => {
    const [x, y] = panel.toScreen(place);
    if (i) context.lineTo(x, y); else context.moveTo(x, y);
  });
  context.closePath();
  context.globalAlpha = 0.08;
  context.fillStyle = colours.accent;
  context.fill();
  context.globalAlpha = 1;
  context.setLineDash([4, 3]);
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.2;
  context.stroke();
  context.setLineDash([]);
}

function drawLabels(context, panel, width, height, at, placed, colours) {
  const taken = [panel.layerName].filter(Boolean).map(({ offsetLeft, offsetTop, offsetWidth, offsetHeight }) => [offsetLeft, offsetTop, offsetLeft + offsetWidth, offsetTop + offsetHeight, ""]); // a report has its name elsewhere
  const isFree = (box) => taken.every((other) => {
    const room = box[4] === other[4] ? SAME_TEXT_PIXELS : 0;
    return box[2] + room < other[0] || box[0] - room > other[2] || box[3] + room < other[1] || box[1] - room > other[3];
  });
  const label = ([x, y], name, font, colour, isForced) => {
    if (x < 0 || y < 34 || x > width || y > height - 26) return false;
    context.font = font;
    const text = shortened(shown(name), 28);
    const wide = context.measureText(text).width;
    for (const left of [x + 8, x - 8 - wide]) {
      const box = [left - 3, y - 9, left + wide + 3, y + 9, text];
      if (box[0] < 2 || box[2] > width - 2 || (!isFree(box) && !isForced)) continue;
      taken.push(box);
      context.lineWidth = 3.5;
      context.lineJoin = "round";
      context.strokeStyle = colours.bg;
      context.strokeText(text, left, y);
      context.fillStyle = colour;
      context.fillText(text, left, y);
      return true;
    }
    return false;
  };
  context.textBaseline = "middle";
  const family = getComputedStyle(document.body).fontFamily;
  const drawn = new Set();
  const name = (item, font, colour, isForced) => !drawn.has(item) && label(at(item), panel.map.texts[item], font, colour, isForced) && drawn.add(item);
  if (placed) label(placed, `${panel.placed.isExact ? "" : "≈ "}${panel.placed.text}`, `600 14px ${family}`, colours.accent, true);
  for (const item of panel.query.slice(0, 1)) name(item, `600 14px ${family}`, colours.accent, true);
  for (const item of panel.near) name(item, `500 12.5px ${family}`, colours.ink);
  const most = Math.round(width * height / 14000);
  const order = panel.selected ? [...panel.selected] : null;
  const n = order ? order.length : panel.map.n;
  for (let i = 0, free = most; i < Math.min(n, CHECKED) && free > 0; i++) {
    const item = order ? order[i] : i;
    if (name(item, `12px ${family}`, colours.muted)) free--;
  }
  panel.labels = taken.filter((box) => box[4]); // for the tests: no two overlap
}
