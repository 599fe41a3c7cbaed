// The map of a space, unpacked from the server's bytes, and the values that colour its items.

import { getBytes } from "./api.js";

const loaded = new Map();

export function loadMap(space, name, signal) {
  const key = `${space} ${name}`;
  if (!loaded.has(key)) {
    const loading = getBytes("/api/map", { space, map: name }, signal).then((bytes) => Object.assign(unpack(bytes), { name }));
    loaded.set(key, loading);
    loading.catch(() => loaded.delete(key));
  }
  return loaded.get(key);
}

export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const map = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  map.ids = new BigInt64Array(buffer, 4 + length, map.n);
  const places = new Uint16Array(buffer, 4 + length + 8 * map.n, 2 * map.n * map.layers.length);
  map.places = map.layers.map((_, layer) => places.subarray(2 * map.n * layer, 2 * map.n * (layer + 1)));
  map.span = [map.high[0] - map.low[0], map.high[1] - map.low[1]];
  map.positionOf = new Map(Array.from(map.ids, (id, at) => [String(id), at]));
  const byText = new Map();
  map.texts.forEach((text, at) => { if (!byText.has(text)) byText.set(text, []); byText.get(text).push(at); });
  map.find = (text) => byText.get(text) || [];
  map.isOccurrence = map.contexts.length > 0;
  return map;
}

// Whether the items are drawn from more; else others are not selected, or have no direction.
export const isSample = (map) => Boolean(map.where) || map.command.includes(" --sample ");

// Values of the items of a space, in the order of the items of a map, which may lack some.
export function aligned(map, found) {
  const bytes = Uint8Array.from(atob(found.ids), (letter) => letter.charCodeAt(0));
  const ids = new BigInt64Array(bytes.buffer);
  if (ids.length === map.n && ids[0] === map.ids[0] && ids.at(-1) === map.ids.at(-1)) return found;
  const values = new Array(map.n).fill(null);
  ids.forEach((id, i) => {
    const item = map.positionOf.get(String(id));
    if (item !== undefined) values[item] = found.values[i];
  });
  return { ...found, values };
}

// Categories of some items alone, the most frequent first; the others have none.
export function among(found, items) {
  const counts = new Map();
  for (const item of items) counts.set(found.values[item], (counts.get(found.values[item]) || 0) + 1);
  const order = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  const rank = new Map(order.map((value, place) => [value, place]));
  const values = new Array(found.values.length).fill(null);
  for (const item of items) values[item] = rank.get(found.values[item]);
  return { ...found, values, categories: order.map((value) => found.categories[value]) };
}

// The sentence of an occurrence in three parts: before the word, the word, after it. Spans count code points.
export function context(map, at) {
  const letters = Array.from(map.contexts[map.context_of[at]]);
  const [start, end] = map.spans[at];
  return [letters.slice(0, start).join(""), letters.slice(start, end).join(""), letters.slice(end).join("")];
}

// An occurrence as embstore neighbours --text takes it: the word of the sentence in brackets.
export function marked(map, at) {
  const [before, word, after] = context(map, at);
  return `${before}[${word}]${after}`;
}

// Place between two layers: `depth` is a position in the list of layers, such as 2.4; coordinates of the map, unscaled.
export function placeAt(map, at, depth) {
  const low = Math.max(0, Math.min(map.layers.length - 1, Math.floor(depth)));
  const high = Math.min(map.layers.length - 1, low + 1);
  const t = depth - low;
  const a = map.places[low], b = map.places[high];
  const x = a[2 * at] + (b[2 * at] - a[2 * at]) * t, y = a[2 * at + 1] + (b[2 * at + 1] - a[2 * at + 1]) * t;
  return [x / 65535 * map.span[0], y / 65535 * map.span[1]];
}

// The view that shows nearly all items of each layer: centre, and units of the map per half of the shorter side.
export function fitted(map) {
  if (!map.n) return { x: 0, y: 0, half: 1 };
  const step = Math.max(1, Math.floor(map.n / 1500));
  let left = Infinity, right = -Infinity, bottom = Infinity, top = -Infinity;
  for (let layer = 0; layer < map.layers.length; layer++) {
    const xs = [], ys = [];
    for (let at = 0; at < map.n; at += step) {
      const [x, y] = placeAt(map, at, layer);
      xs.push(x); ys.push(y);
    }
    const ends = (values) => { values.sort((a, b) => a - b); return [values[Math.floor(values.length * 0.015)], values[Math.ceil(values.length * 0.985) - 1]]; };
    const [low, high] = ends(xs), [under, over] = ends(ys);
    left = Math.min(left, low); right = Math.max(right, high); bottom = Math.min(bottom, under); top = Math.max(top, over);
  }
  const half = Math.max(right - left, top - bottom) / 2 * 1.2 || Math.max(...map.span) / 2 || 1;
  return { x: (left + right) / 2, y: (bottom + top) / 2, half };
}
