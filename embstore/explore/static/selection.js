// Beside the map: colours, a selection by lasso or SQL, and any metric of what is selected.

import { post } from "./api.js";
import { field, fill, h, number, select } from "./dom.js";
import { job } from "./job.js";
import { aligned, among, placeAt } from "./mapdata.js";
import { metricResult } from "./result.js";
import { categoryColour, isDark, limits, N_CATEGORIES, ramp } from "./palette.js";
import { set, state } from "./state.js";

const MOST_SELECTED = 5000, MOST_NAMED = 20;
const FURTHER = new Set(["column", "labels", "word sets", "word contexts"]); // what metrics need that have parameters without a default
const OF_LAYER = ["norm", "cosine", "axis", "change", "cluster"];
const KINDS = [
  ["none", "nothing"], ["cluster", "cluster"], ["norm", "norm"], ["cosine", "cosine with the text"], ["axis", "place between two sets of words"], ["change", "change from the layer below"],
  ["length", "length of the text"], ["sentence", "sentence"], ["column", "an SQL expression"],
];

export function selectionSection(view) {
  const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
  const inSql = (name) => (/^[a-z_]\w*$/i.test(name) ? name : quoted(name));
  // A column of the items is an expression too, with an entry of its own.
  const ofColumn = new Map(view.store.columns.map((name) => [quoted(name), `column:${name}`]));
  const kind = select([...KINDS, ...view.store.columns.map((name) => [`column:${name}`, `column ${name}`])], chosenKind(), (value) => {
    const name = value.startsWith("column:") && value.slice("column:".length);
    if (name !== false) set({ colour: "column", column: quoted(name) });
    else set({ colour: value, column: value === "column" && ofColumn.has(state.column) ? "" : state.column });
  });
  const column = h("input", { type: "text", value: state.column, list: "columns", placeholder: "length(text)", onchange: () => set({ column: column.value }) });
  const columnField = field("SQL over the item columns", column);
  const pole = (name, placeholder) => h("input", { type: "text", value: state[name], placeholder, onchange: (event) => set({ [name]: event.target.value }) });
  const poles = { positive: pole("positive", "good, happy"), negative: pole("negative", "bad, sad") };
  const poleFields = h("div", { hidden: true }, field("From words", poles.negative, "With commas: the low end of the colours"), field("To words", poles.positive, "With commas: the high end"));
  const examples = h("datalist", { id: "columns" }, ["length(text)", "text LIKE '%s'", "upper(text[1])", "zipf_frequency",
    ...ofColumn.keys(),
    ...Object.keys(view.store.datasets).filter((name) => view.store.datasets[name] === "lexicon").map((name) => `(SELECT min(valence) FROM datasets.${name} AS d WHERE d.item_id = items.item_id)`),
  ].map((value) => h("option", { value })));
  const legendPlace = h("div", { class: "legend" });
  const lassoButton = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => setLasso(lassoButton.getAttribute("aria-pressed") !== "true") }, "Lasso");
  const clear = h("button", { type: "button", class: "quiet", onclick: () => set({ lasso: "", where: "" }) }, "Clear");
  const where = h("input", { type: "text", value: state.where, placeholder: "text LIKE 'a%'", onchange: () => set({ where: where.value, lasso: "" }) });
  const status = h("p", { class: "muted", role: "status" });
  const { metrics } = view.store;
  const metric = select(metrics.map((each) => [each.name, FURTHER.has(each.needs) ? `${each.name} …` : each.name]), metrics.some((each) => each.name === state.metric) ? state.metric : "anisotropy", (value) => set({ metric: value }));
  const run = h("button", { type: "button", onclick: compute }, "Compute");
  const result = h("div", {});
  const element = h("section", { "aria-label": "Colour and selection" }, field("Colour by", kind), columnField, poleFields, examples, legendPlace,
    h("h2", {}, "Selection"), h("div", { class: "row" }, lassoButton, clear), field("or where", where, view.store.columns.length > 0 && `Columns: text, ${view.store.columns.slice(0, MOST_NAMED).map(inSql).join(", ")}${view.store.columns.length > MOST_NAMED ? " …" : ""}`), status,
    h("div", { class: "row" }, h("div", {}, field("Metric of the selection", metric, "…: with further fields, in the tab Metrics")), run), result);
  const colours = new Map();
  let lastChoice = null;

  function setLasso(isOn) {
    lassoButton.setAttribute("aria-pressed", String(isOn));
    for (const panel of view.panels) panel.isLasso = isOn;
  }

  function chosenKind() {
    return state.colour === "column" && ofColumn.get(state.column) || state.colour;
  }

  const layerOf = (panel) => panel.map.layers[Math.round(panel.depth)];

  async function colour(panel) {
    if (!panel.map) return;
    const key = JSON.stringify([panel.map.space, state.colour, OF_LAYER.includes(state.colour) && layerOf(panel), state.colour === "axis" && [state.positive, state.negative], state.colour === "cosine" && [state.q, panel.query[0]], state.colour === "sentence" && state.q, state.colour === "column" && state.column]);
    if (panel.colourKey === key) return;
    panel.colourKey = key;
    if (state.colour === "none" || (state.colour === "cosine" && !panel.query.length) || (state.colour === "column" && !state.column) || (state.colour === "axis" && !(state.positive && state.negative))) {
      panel.colouring?.abort();
      panel.colour(null);
      colours.delete(panel);
      legend();
      if (state.colour === "cosine") fill(legendPlace, "Find a text first: items are coloured by their cosine with it.");
      if (state.colour === "axis") fill(legendPlace, "Give words for both ends: items are coloured by their place between them.");
      return;
    }
    const body = { space: panel.map.space, kind: state.colour, layer: layerOf(panel) };
    if (state.colour === "cosine") body.text = String(panel.map.ids[panel.query[0]]);
    if (state.colour === "column") body.column = state.column;
    if (state.colour === "axis") Object.assign(body, { positive: state.positive, negative: state.negative });
    panel.colouring?.abort();
    panel.colouring = new AbortController();
    const slow = setTimeout(() => fill(legendPlace, h("p", { class: "busy" }, h("span", { class: "dot", "aria-hidden": "true" }), "Colouring ",
      h("button", { type: "button", class: "quiet", onclick: () => set({ colour: "none" }) }, "Cancel"))), 400);
    try {
      let found = aligned(panel.map, await post("/api/colours", body, panel.colouring.signal));
      if (panel.colourKey !== key) return;
      const occurrences = state.colour === "sentence" && panel.map.isOccurrence ? panel.map.find(state.q) : [];
      if (occurrences.length) found = among(found, occurrences);
      panel.colour(found);
      colours.set(panel, found);
      legend();
    } catch (error) {
      if (error.name === "AbortError" || panel.colourKey !== key) return;
      panel.colourKey = null;
      panel.colour(null);
      colours.delete(panel);
      fill(legendPlace, h("p", { class: "error", role: "alert" }, error.message));
    } finally {
      clearTimeout(slow);
    }
  }

  function legend() {
    fill(legendPlace, [...colours.entries()].filter(([panel]) => view.panels.includes(panel)).slice(0, 1).map(([, found]) => {
      const missing = state.colour !== "sentence" ? found.values.filter((value) => value === null).length : 0;
      const rest = missing > 0 && h("div", {}, `no value: ${missing.toLocaleString("en")} item${missing > 1 ? "s" : ""}`);
      if (missing === found.values.length) return h("div", {}, found.label, rest);
      if (found.categories) {
        const shown = found.categories.slice(0, N_CATEGORIES);
        return h("div", {}, found.label, h("ul", { class: shown.some((name) => name.length > 18) && "long" }, [...shown, ...(found.categories.length > N_CATEGORIES ? [`${found.categories.length - N_CATEGORIES} others`] : [])].map((name, i) => {
          const swatch = h("i", { "aria-hidden": "true" });
          swatch.style.background = categoryColour(i);
          return h("li", { title: name }, swatch, name);
        })), rest);
      }
      const canvas = h("canvas", { width: 256, height: 1, "aria-hidden": "true" });
      const brush = canvas.getContext("2d");
      for (let i = 0; i < 256; i++) { brush.fillStyle = `rgb(${ramp(i / 255)})`; brush.fillRect(i, 0, 1, 1); }
      const [low, high] = limits(found.values);
      return h("div", {}, found.label, canvas, h("div", { class: "ends" }, h("span", {}, `≤ ${number(low)}`), h("span", {}, `≥ ${number(high)}`)), rest);
    }));
  }

  // A lasso in the address: panel:layer:x,y,x,y…, in units of the map.
  function lasso(number, polygon) {
    const step = Math.max(1, Math.floor(polygon.length / 80));
    const corners = polygon.filter((_, i) => i % step === 0).flat().map((value) => Number(value.toPrecision(5)));
    setLasso(false);
    set({ lasso: `${number}:${view.panels[number].depth.toFixed(3)}:${corners.join(",")}`, where: "" });
  }

  function polygonOf(panel) {
    const [number, depth, corners] = state.lasso.split(":");
    if (!corners || view.panels[Number(number)]?.map !== panel.map) return null;
    const values = corners.split(",").map(Number);
    const polygon = [];
    for (let i = 0; i + 1 < values.length; i += 2) polygon.push([values[i], values[i + 1]]);
    return polygon.length > 2 && values.every(Number.isFinite) ? { polygon, depth: Number(depth), number: Number(number) } : null;
  }

  async function choose() {
    const choice = lastChoice = {};
    where.value = state.where;
    for (const panel of view.panels) {
      panel.lasso = null;
      panel.selected = null;
      if (!panel.map) continue;
      const drawn = state.lasso && polygonOf(panel);
      if (drawn) {
        panel.lasso = view.panels[drawn.number] === panel ? drawn.polygon : null;
        panel.selected = new Set();
        for (let item = 0; item < panel.map.n; item++) if (isInside(placeAt(panel.map, item, drawn.depth), drawn.polygon)) panel.selected.add(item);
      }
    }
    const source = view.panels.find((panel) => panel.selected);
    if (source) {
      const ids = new Set([...source.selected].map((item) => String(source.map.ids[item])));
      for (const panel of view.panels) if (panel.map && !panel.selected) panel.selected = new Set([...ids].map((id) => panel.map.positionOf.get(id)).filter((item) => item !== undefined));
    }
    if (state.where && !await chooseWhere(choice)) return;
    for (const panel of view.panels) if (panel.map) panel.colour(panel.found ?? null);
    const n = view.panels[0]?.selected?.size;
    const none = state.where ? "Selected are the items of the condition; they are counted once there is a map." : "Everything is selected. Draw a lasso (or hold Shift and drag), or give an SQL condition.";
    status.textContent = n === undefined ? none : `${n.toLocaleString("en")} of ${view.panels[0].map.n.toLocaleString("en")} items are selected.`;
  }

  // Returns whether the items were found, and no other choice was made meanwhile.
  async function chooseWhere(choice) {
    for (const panel of view.panels.filter((each) => each.map)) {
      try {
        const found = aligned(panel.map, await post("/api/colours", { space: panel.map.space, kind: "where", column: state.where }));
        if (choice !== lastChoice) return false;
        const place = found.categories.indexOf("True");
        panel.selected = new Set(found.values.map((value, item) => (value === place ? item : -1)).filter((item) => item >= 0));
      } catch (error) {
        if (choice === lastChoice) fill(status, h("span", { class: "error" }, error.message));
        return false;
      }
    }
    return true;
  }

  function selectedWhere() {
    if (!state.lasso) return state.where;
    const panel = view.panels.find((each) => each.selected);
    if (!panel?.selected.size) throw new Error("The lasso holds no item.");
    if (panel.selected.size > MOST_SELECTED) throw new Error(`The lasso holds ${panel.selected.size.toLocaleString("en")} items, and a command can name at most ${MOST_SELECTED.toLocaleString("en")}. Draw a smaller one, or give a condition in SQL.`);
    return `item_id IN (${[...panel.selected].map((item) => panel.map.ids[item]).join(", ")})`;
  }

  function compute() {
    const spaces = [...new Set(view.panels.map((panel) => panel.host.spec.space))];
    if (FURTHER.has(metrics.find((each) => each.name === metric.value).needs)) {
      try {
        return set({ tab: "metrics", metric: metric.value, space: spaces.join(","), layers: "", where: selectedWhere(), parameters: "" });
      } catch (error) {
        return fill(result, h("p", { class: "error", role: "alert" }, error.message));
      }
    }
    return job(result, `Computing ${metric.value}`, async (signal) => post("/api/metric", {
      name: metric.value, options: { spaces, layers: "all", where: selectedWhere() }, parameters: {}, theme: isDark() ? "dark" : "screen",
      width: Math.max(300, Math.min(640, result.clientWidth || 320)),
    }, signal), (found) => metricResult(found, metric.value));
  }

  function update(keys) {
    kind.value = chosenKind();
    column.value = state.column;
    showFields();
    if (["colour", "column", "positive", "negative", "q", "marked"].some((key) => keys.has(key))) for (const panel of view.panels) colour(panel);
    if (keys.has("lasso") || keys.has("where")) choose();
  }

  function showFields() {
    columnField.hidden = kind.value !== "column";
    poleFields.hidden = kind.value !== "axis";
    for (const [name, input] of Object.entries(poles)) input.value = state[name];
  }

  showFields();
  choose();
  return {
    element, update, lasso, legend,
    apply: (panel) => { panel.isLasso = lassoButton.getAttribute("aria-pressed") === "true"; colour(panel); choose(); },
    layerChanged: () => { if (OF_LAYER.includes(state.colour)) for (const panel of view.panels) colour(panel); },
  };
}

function isInside([x, y], polygon) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [ax, ay] = polygon[i], [bx, by] = polygon[j];
    if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}
