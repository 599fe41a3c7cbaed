// A searched text that is not on the map of a panel: where it belongs there, layer by layer.

import { post } from "./api.js";
import { announce } from "./dom.js";
import { state } from "./state.js";

// Sets panel.placed: {text, isExact, places}, with places in units of the map, null in a layer where it has none.
export async function placeText(panel) {
  const { map } = panel;
  const key = JSON.stringify([map.space, map.name, state.q, state.marked, state.embed]);
  if (panel.placedKey === key) return;
  forgetText(panel);
  panel.placedKey = key;
  panel.placing = new AbortController();
  const text = state.marked ? { marked: state.marked } : { text: state.q.trim() };
  try {
    const found = await post("/api/place", { ...text, space: map.space, name: map.name, embed: state.embed === "1" }, panel.placing.signal);
    if (panel.placedKey !== key) return;
    const places = found.places.map((place) => place && [place[0] - map.low[0], place[1] - map.low[1]]);
    panel.placed = { text: state.q.trim(), isExact: found.is_exact, places };
    announce(`${panel.placed.text} is not stored. ${standing(panel.placed)}.`);
    panel.redraw();
  } catch (error) {
    if (error.name !== "AbortError" && panel.placedKey === key) announce(error.message);
  }
}

export function forgetText(panel) {
  panel.placing?.abort();
  Object.assign(panel, { placed: null, placedKey: "", placing: null });
}

export function placedAt(placed, depth) {
  const low = Math.max(0, Math.min(placed.places.length - 1, Math.floor(depth)));
  const a = placed.places[low], b = placed.places[Math.min(placed.places.length - 1, low + 1)];
  if (!a || !b) return depth === low ? a : null;
  return [0, 1].map((axis) => a[axis] + (b[axis] - a[axis]) * (depth - low));
}

export const standing = (placed) => (placed.isExact ? "Its place is exact" : "Its place is approximate: amid its five nearest");
