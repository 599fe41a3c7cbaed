// The view Map: panels, the slider of layers, and what stands beside them.

import { get } from "./api.js";
import { commands, copyable } from "./command.js";
import { announce, count, fill, h } from "./dom.js";
import { job } from "./job.js";
import { loadMap, marked } from "./mapdata.js";
import { Panel } from "./panel.js";
import { nearSection } from "./near.js";
import { selectionSection } from "./selection.js";
import { onChange, set, state } from "./state.js";

const SECONDS_PER_LAYER = 0.9;
const MOST_PANELS = 4;

export function show(main, store) {
  const spaces = store.spaces.filter((space) => space.items);
  const view = { store, spaces, panels: [], depth: 0, near: null };
  const place = h("div", { class: "panels" });
  const timeline = makeTimeline(view);
  const side = h("div", { class: "side" });
  fill(main, h("h1", { class: "hidden-visually" }, "Map"),
    h("div", { class: "explorer" }, h("div", { class: "stage" }, place, timeline.element), side));
  view.timeline = timeline;
  view.search = nearSection(view);
  view.selection = selectionSection(view);
  view.elsewhere = h("section", { "aria-label": "Commands of the maps" });
  fill(side, view.search.element, view.selection.element, view.elsewhere);
  window.explorer = view; // for those who script the page
  makePanels(view, place);
  const stop = onChange((keys) => {
    if (state.tab !== "map") return;
    if (keys.has("panels") || keys.has("map") || keys.has("make")) makePanels(view, place);
    if (keys.has("layer") && !view.isWriting) view.setDepth(depthOf(view, state.layer));
    if (["q", "marked", "k", "embed"].some((key) => keys.has(key))) view.search.update();
    if (["colour", "column", "positive", "negative", "lasso", "where", "q", "marked"].some((key) => keys.has(key))) view.selection.update(keys);
  });
  addEventListener("keydown", keys);
  addEventListener("themechange", repaint);
  function keys(event) {
    if (event.target.closest?.("input, textarea, select") || event.ctrlKey || event.metaKey) return;
    if (event.key === "[" || event.key === "]") timeline.step(event.key === "]" ? 1 : -1);
    else if (event.key === " " && !event.target.closest?.("button, summary")) { event.preventDefault(); timeline.play(); }
    else if (event.key === "Escape") set({ lasso: "", where: "" });
  }
  function repaint() { for (const panel of view.panels) panel.colour(panel.found); view.selection.legend(); }
  return () => {
    stop();
    timeline.stop();
    removeEventListener("keydown", keys);
    removeEventListener("themechange", repaint);
    for (const panel of view.panels.splice(0)) panel.release();
  };
}

// What the other views begin with when they are opened from the map: the space of its first panel.
export function carried(store) {
  return { space: specs({ store, spaces: store.spaces.filter((space) => space.items) })[0].space };
}

// Panels in the address: space@layer, separated by ;. Without a layer a panel follows the slider.
function specs(view) {
  const given = state.panels.split(";").filter(Boolean).map((text) => {
    const at = text.lastIndexOf("@");
    return at < 0 ? { space: text, layer: "" } : { space: text.slice(0, at), layer: text.slice(at + 1) };
  }).filter(({ space }) => view.spaces.some((known) => known.space === space));
  return given.length ? given.slice(0, MOST_PANELS) : [{ space: first(view).space, layer: "" }];
}

// The newest space with a stored map; else the largest one of words.
function first({ spaces, store }) {
  const mapped = spaces.filter(({ space }) => store.maps[space]);
  if (mapped.length) return mapped.reduce((a, b) => (b.created > a.created ? b : a));
  return [...spaces].sort((a, b) => (a.unit === "word" ? 0 : 1) - (b.unit === "word" ? 0 : 1) || b.items - a.items)[0];
}

function writeSpecs(list) {
  set({ panels: list.map(({ space, layer }) => (layer === "" ? space : `${space}@${layer}`)).join(";"), lasso: "" });
}

function makePanels(view, place) {
  for (const panel of view.panels) panel.release();
  const list = specs(view);
  view.panels = list.map((spec, number) => new Panel({
    spaces: view.spaces, spec,
    maps: view.store.maps[spec.space] || [], map: state.map, onmap: (name) => set({ map: name, lasso: "", view: "" }),
    onspace: (space) => writeSpecs(list.map((each, i) => (i === number ? { space, layer: "" } : each))),
    onlayer: (layer) => writeSpecs(list.map((each, i) => (i === number ? { ...each, layer } : each))),
    onclose: list.length > 1 ? () => writeSpecs(list.filter((_, i) => i !== number)) : null,
    onhover: (panel, item, x, y) => hover(view, panel, item, x, y),
    onpick: (panel, item) => pick(panel.map, item),
    onlasso: (panel, lasso) => view.selection.lasso(view.panels.indexOf(panel), lasso),
    onview: (panel) => share(view, panel),
  }));
  place.dataset.n = list.length;
  const add = h("button", { type: "button", class: "quiet", "aria-label": "Add a panel", onclick: () => writeSpecs([...list, { ...list.at(-1), layer: "" }]) }, "+");
  fill(place, view.panels.map((panel) => panel.element));
  if (list.length < MOST_PANELS) {
    const head = view.panels[0].element.querySelector(".panel-head");
    head.insertBefore(add, head.querySelector(".quiet"));
  }
  for (const panel of view.panels) load(view, panel);
}

async function load(view, panel) {
  const space = view.spaces.find((each) => each.space === panel.host.spec.space);
  const stored = view.store.maps[space.space] || [];
  const name = ["pca", ...stored].includes(state.map) ? state.map : "";
  const note = h("div", { class: "no-map" });
  panel.plot.after(note);
  panel.plot.hidden = true;
  if (!stored.length && name !== "pca" && !state.make) return fill(note, offer(view, space));
  const make = async () => {
    await job(note, `Mapping ${space.items.toLocaleString("en")} items in ${space.layer_names.length} layers`,
      (signal) => loadMap(space.space, name, signal), (map) => {
        queueMicrotask(() => draw(view, panel, note, map));
        return null;
      });
    if (note.isConnected && note.textContent) note.append(h("p", {}, h("button", { type: "button", onclick: make }, "Try again")));
  };
  return make();
}

function draw(view, panel, note, map) {
  if (!view.panels.includes(panel)) return; // closed while its map was loaded
  panel.plot.hidden = false;
  try {
    panel.setMap(map);
  } catch (error) { // no WebGL2
    panel.plot.hidden = true;
    panel.map = null;
    fill(note, h("p", { class: "error", role: "alert" }, error.message));
    return;
  }
  note.remove();
  ready(view, panel);
}

function offer(view, space) {
  return [h("h2", {}, `${space.space} has no map yet`),
    h("p", {}, `${space.items > view.store.most_items ? `A sample of its ${count(space.items)} items` : `Its ${count(space.items)} items`} can be placed by two principal components${space.layer_names.length > 1 ? `, which all ${space.layer_names.length} layers share` : ""}. That takes seconds, and is kept in memory only.`),
    h("p", {}, h("button", { type: "button", onclick: () => set({ make: "1" }) }, "Make the PCA map now")),
    h("p", { class: "muted" }, "Principal components keep about one in a hundred of the true nearest neighbours. t-SNE keeps about four in ten. It takes minutes, and is stored by this command:"),
    copyable("Command", view.store.map_commands[space.space])];
}

function ready(view, panel) {
  const { map } = panel;
  const twin = view.panels.find((other) => other !== panel && other.map === map);
  if (twin) panel.view = { ...twin.view };
  else if (panel === view.panels[0] && state.view) {
    const [x, y, half] = state.view.split(",").map(Number);
    if ([x, y, half].every(Number.isFinite) && half > 0) panel.view = { x, y, half };
  }
  if (panel === view.panels[0]) {
    view.timeline.setLayers(map.layers);
    view.setDepth(depthOf(view, state.layer));
  } else panel.setDepth(depthFor(view, panel));
  panel.redraw();
  if (!map.kept) {
    map.keeping ||= get("/api/kept", { space: map.space }).then((found) => { map.kept = found; });
    map.keeping.then(() => panel.redraw(), (error) => announce(error.message));
  }
  view.search.apply(panel);
  view.selection.apply(panel);
  const shown = [...new Set(view.panels.map((each) => each.map).filter(Boolean))];
  fill(view.elsewhere, shown.map((each) => commands(each, `The map of ${each.space} elsewhere`)));
}

function depthOf(view, layer) {
  const layers = view.panels[0]?.map?.layers || [];
  const named = layers.indexOf(layer);
  if (named >= 0) return named;
  const number = Number.parseFloat(layer);
  return layer !== "" && Number.isFinite(number) ? number : layers.length - 1;
}

// Panels of models with other numbers of layers move in proportion to their depth.
function depthFor(view, panel) {
  const fixed = panel.map.layers.indexOf(panel.host.spec.layer);
  if (fixed >= 0) return fixed;
  const last = (view.panels[0].map?.layers.length || 1) - 1;
  return last ? view.depth / last * (panel.map.layers.length - 1) : panel.map.layers.length - 1;
}

function share(view, source) {
  for (const panel of view.panels) {
    if (panel !== source && panel.map === source.map) { panel.view = { ...source.view }; panel.moving(); }
  }
  if (source === view.panels[0]) {
    const { x, y, half } = source.view, { whole } = source;
    const isWhole = Math.abs(x - whole.x) + Math.abs(y - whole.y) + Math.abs(half - whole.half) < 1e-9;
    set({ view: isWhole ? "" : [x, y, half].map((value) => Number(value.toPrecision(6))).join(",") });
  }
}

function hover(view, source, item, x, y) {
  if (source.hovered === item && item === null) return;
  source.hover(item, x, y);
  const id = item === null ? null : String(source.map.ids[item]);
  for (const panel of view.panels) {
    if (panel !== source && panel.map) panel.hover(id === null ? null : panel.map.positionOf.get(id) ?? null);
  }
}

export function pick(map, item) {
  set(map.isOccurrence ? { q: map.texts[item], marked: marked(map, item) } : { q: map.texts[item], marked: "" });
  announce(`${map.texts[item]} is searched.`);
}

function makeTimeline(view) {
  const input = h("input", { type: "range", min: "0", max: "0", step: "any", "aria-label": "Layer", disabled: true });
  const ticks = h("div", { class: "ticks", "aria-hidden": "true" });
  const button = h("button", { type: "button", class: "quiet", "aria-label": "Play the layers", disabled: true, onclick: () => play() }, "▶");
  let frame = 0, names = [];

  view.setDepth = (depth, isFinal = true) => {
    view.depth = Math.max(0, Math.min(Math.max(0, names.length - 1), depth));
    input.value = view.depth;
    input.setAttribute("aria-valuetext", `layer ${names[Math.round(view.depth)] ?? ""}`);
    [...ticks.children].forEach((tick, i) => tick.classList.toggle("now", i === Math.round(view.depth)));
    for (const panel of view.panels) if (panel.map) { panel.setDepth(depthFor(view, panel)); if (!isFinal) panel.moving(); }
    if (!isFinal) return;
    view.isWriting = true;
    const at = Math.round(view.depth);
    set({ layer: Math.abs(at - view.depth) > 1e-6 ? view.depth.toFixed(3) : at === names.length - 1 ? "" : names[at] ?? "" });
    view.isWriting = false;
    view.search.layerChanged();
    view.selection.layerChanged();
  };
  function move(target, seconds, then) {
    cancelAnimationFrame(frame);
    const start = performance.now(), from = view.depth;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches || seconds === 0;
    const tick = (now) => {
      const share = still ? 1 : Math.min(1, Math.max(0, now - start) / 1000 / seconds);
      const eased = share < 0.5 ? 2 * share * share : 1 - 2 * (1 - share) ** 2;
      view.setDepth(share === 1 ? target : from + (target - from) * eased, share === 1 && !then);
      if (share < 1) frame = requestAnimationFrame(tick);
      else then?.();
    };
    frame = requestAnimationFrame(tick);
  }
  function stop() {
    cancelAnimationFrame(frame);
    frame = 0;
    button.textContent = "▶";
    button.setAttribute("aria-label", "Play the layers");
  }
  function play() {
    if (button.textContent !== "▶") { stop(); return move(Math.round(view.depth), 0.2); }
    if (names.length < 2) return undefined;
    button.textContent = "❚❚";
    button.setAttribute("aria-label", "Stop at this layer");
    if (view.depth >= names.length - 1) view.setDepth(0, false);
    const next = () => {
      if (view.depth >= names.length - 1) { stop(); return view.setDepth(view.depth); }
      return move(Math.floor(view.depth) + 1, SECONDS_PER_LAYER, () => setTimeout(() => frame && next(), 220));
    };
    return next();
  }
  function step(direction) {
    stop();
    const target = Math.max(0, Math.min(names.length - 1, Math.round(view.depth) + direction));
    move(target, 0.35);
  }
  input.addEventListener("input", () => { stop(); view.setDepth(Number(input.value), false); });
  input.addEventListener("change", () => move(Math.round(Number(input.value)), 0.2));
  input.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -1, PageUp: 1, Home: -1e3, End: 1e3 };
    if (steps[event.key]) { event.preventDefault(); step(steps[event.key]); }
  });
  const setLayers = (layers) => {
    names = layers;
    input.max = Math.max(0, layers.length - 1);
    input.disabled = button.disabled = layers.length < 2;
    fill(ticks, layers.map((name) => h("span", {}, name)));
  };
  return { element: h("div", { class: "timeline" }, button, h("div", { class: "track" }, input, ticks)), setLayers, play, step, stop };
}
