// Draw over the items: labels that do not collide, the searched text with its neighbours and trail, the lasso.

import { shown } from "./dom.js";
import { placeAt } from "./mapdata.js";
import { ink } from "./palette.js";

const CHECKED = 1500;

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
  if (panel.query.length === 1) drawTrail(context, panel, colours);
  for (const item of panel.near) dot(context, at(item), 4, colours.accent, colours.bg);
  const isOne = panel.query.length === 1;
  for (const item of panel.query) dot(context, at(item), isOne ? 5.5 : 4, colours.accent, isOne ? colours.ink : colours.bg);
  if (panel.hovered !== null) ring(context, at(panel.hovered), 7, colours.ink);
  drawLabels(context, panel, width, height, at, colours);
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
function drawTrail(context, panel, colours) {
  const item = panel.query[0];
  const places = panel.map.layers.map((_, layer) => panel.toScreen(placeAt(panel.map, item, layer)));
  context.beginPath();
  places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.5;
  context.globalAlpha = 0.7;
  context.stroke();
  context.globalAlpha = 1;
  for (const place of places) dot(context, place, 2, colours.bg, colours.accent);
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

function drawLabels(context, panel, width, height, at, colours) {
  const taken = [];
  const isFree = (box) => taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
  const label = (item, font, colour, isForced) => {
    const [x, y] = at(item);
    if (x < 0 || y < 34 || x > width || y > height - 26) return false;
    context.font = font;
    const text = shortened(shown(panel.map.texts[item]));
    const wide = context.measureText(text).width;
    for (const left of [x + 8, x - 8 - wide]) {
      const box = [left - 3, y - 9, left + wide + 3, y + 9];
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
  for (const item of panel.query.slice(0, 1)) if (label(item, `600 14px ${family}`, colours.accent, true)) drawn.add(item);
  for (const item of panel.near) if (!drawn.has(item) && label(item, `500 12.5px ${family}`, colours.ink)) drawn.add(item);
  const most = Math.round(width * height / 14000);
  const order = panel.selected ? [...panel.selected] : null;
  const n = order ? order.length : panel.map.n;
  for (let i = 0, free = most; i < Math.min(n, CHECKED) && free > 0; i++) {
    const item = order ? order[i] : i;
    if (!drawn.has(item) && label(item, `12px ${family}`, colours.muted)) free--;
  }
  panel.labels = taken; // for the tests: no two overlap
}

function shortened(text) {
  const letters = Array.from(text);
  return letters.length > 28 ? `${letters.slice(0, 27).join("")}…` : text;
}
