// Beside the map: a text, its exact neighbours in each layer, and where it occurs.

import { post } from "./api.js";
import { commands } from "./command.js";
import { fill, h, number, select, shortened, shown } from "./dom.js";
import { job } from "./job.js";
import { context, marked } from "./mapdata.js";
import { forgetText, placeText } from "./newtext.js";
import { searchField } from "./search.js";
import { set, state } from "./state.js";
import { notes } from "./table.js";

const LAYERS_BESIDE = 5;
const SHOWN_CONTEXTS = 200;

// Whether indexes of a space may miss neighbours, so that the vectors must be scanned.
export const mustScan = (space) => !["flat", "none", "behind"].includes(space.index);

export function nearSection(view) {
  const first = () => view.panels[0]?.host.spec.space ?? view.spaces[0].space;
  const search = searchField({ label: "Find a text", value: state.q, space: first, onpick: (text) => set(asOccurrence(text) || { q: text, marked: "" }) });
  const embed = h("input", { type: "checkbox", checked: state.embed === "1", onchange: () => set({ embed: embed.checked ? "1" : "" }) });
  const k = select(["5", "10", "20", "50"], state.k, (value) => set({ k: value }));
  k.setAttribute("aria-label", "Number of neighbours");
  const list = h("div", {}), across = h("div", {}), contexts = h("div", {});
  const element = h("section", { "aria-label": "Neighbours" }, search.element,
    h("div", { class: "row" }, h("label", { class: "inline" }, embed, "encode a new text"), h("label", { class: "inline" }, "k", k)), contexts, list, across);
  let result = null;

  // A sentence with one word in brackets, where a panel has occurrences.
  function asOccurrence(text) {
    const word = text.match(/\[([^[\]]+)\]/);
    return word && spaces().some((space) => ["occurrence", "token"].includes(space.unit)) ? { q: word[1], marked: text } : null;
  }

  const spaces = () => [...new Map(view.panels.map((panel) => [panel.host.spec.space, view.spaces.find((each) => each.space === panel.host.spec.space)])).values()];

  function update() {
    if (search.input.value !== state.q) search.input.value = state.q;
    embed.checked = state.embed === "1";
    result = null;
    fill(across);
    showContexts();
    for (const panel of view.panels) apply(panel);
    const text = state.q.trim();
    if (!text) return fill(list, h("p", { class: "muted" }, "Type a text, or choose an item on the map: its nearest neighbours by cosine stand here, layer by layer."));
    const searched = searchedSpaces();
    if (!searched.length) return fill(list, withoutSpace());
    const body = {
      ...(state.marked ? { marked: state.marked } : { text }), spaces: searched.map((space) => space.space), layers: "all",
      k: Number(state.k) || 10, embed: state.embed === "1", exact: searched.some(mustScan),
    };
    return job(list, "Searching", (signal) => post("/api/neighbours", body, signal), (found) => {
      result = found;
      queueMicrotask(layerChanged);
      return null;
    });
  }

  const searchedSpaces = () => spaces().filter((space) => (state.marked !== "") === (["occurrence", "token"].includes(space.unit)));

  // What to do for a word of which no panel has a space, or several occurrences.
  function withoutSpace() {
    let hint = "Its sentences are listed once there is a map. Or give one, with brackets round the word: the [bank] of the river.";
    if (!spaces().some((space) => ["occurrence", "token"].includes(space.unit))) hint = "The panels have no space for it.";
    else if (view.panels.some((panel) => panel.map?.isOccurrence)) hint = "Choose one occurrence.";
    return h("p", { class: "muted" }, hint);
  }

  function showContexts() {
    const panel = view.panels.find((each) => each.map?.isOccurrence);
    const found = panel && state.q ? panel.map.find(state.q) : [];
    if (!found.length) return fill(contexts);
    return fill(contexts, h("h3", {}, `${found.length.toLocaleString("en")} occurrence${found.length > 1 ? "s" : ""}`),
      h("ul", { class: "contexts", tabindex: "0", "aria-label": "Occurrences" }, found.slice(0, SHOWN_CONTEXTS).map((item) => {
        const [before, word, after] = context(panel.map, item);
        return h("li", { class: "context" }, h("button", { type: "button", onclick: () => set({ marked: marked(panel.map, item) }) },
          shown(before), h("mark", {}, word), shown(after)));
      })),
      found.length > SHOWN_CONTEXTS && h("p", { class: "hint" }, `The first ${SHOWN_CONTEXTS} are listed; all are marked on the map.`));
  }

  const layerOf = (panel) => (panel.map ? panel.map.layers[Math.round(panel.depth)] : view.spaces.find((each) => each.space === panel.host.spec.space).layer_names.at(-1));
  const rowsOf = (space, layer) => (result ? result.rows.filter((row) => row.space === space && row.layer_name === layer) : []);

  function apply(panel) {
    if (!panel.map) return;
    const { map } = panel;
    const own = state.marked && map.isOccurrence ? map.find(state.q).filter((item) => marked(map, item) === state.marked) : [];
    const same = state.q ? map.find(state.q) : [];
    const isStored = state.marked && map.isOccurrence ? own.length > 0 : same.length > 0;
    panel.query = own.length ? own : state.marked && map.isOccurrence ? [] : same;
    if (!isStored && result?.rows.some((row) => row.space === map.space)) placeText(panel);
    else forgetText(panel);
    panel.near = rowsOf(map.space, layerOf(panel)).map((row) => map.positionOf.get(row.item_id)).filter((item) => item !== undefined);
    panel.redraw();
    if (map.isOccurrence && !contexts.childNodes.length) showContexts();
    if (state.q.trim() && !searchedSpaces().length) fill(list, withoutSpace());
  }

  function layerChanged() {
    for (const panel of view.panels) apply(panel);
    if (!result) return;
    const seen = new Set();
    const blocks = view.panels.map((panel) => {
      const { space } = panel.host.spec, layer = layerOf(panel);
      if (seen.has(`${space} ${layer}`)) return null;
      seen.add(`${space} ${layer}`);
      const rows = rowsOf(space, layer);
      if (!rows.length) return null;
      return h("div", { class: "near-block", "data-space": space, "data-layer": layer }, h("h3", {}, `Nearest in layer ${layer}`, view.panels.length > 1 && h("span", { class: "hint" }, space)),
        h("ol", { class: "near" }, rows.map((row) => entry(panel, row))));
    });
    fill(list, blocks, notes(result.notes));
    fill(across, acrossLayers(), commands(result));
  }

  function entry(panel, row) {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${Math.max(0, row.cosine) * 100}%`;
    const item = panel.map?.positionOf.get(row.item_id);
    const hover = (at) => () => { if (item !== undefined) panel.hover(at); };
    return h("li", {}, h("button", {
      type: "button", title: row.context || row.text, onclick: () => set(row.context ? { q: row.text, marked: row.context } : { q: row.text, marked: "" }),
      onpointerenter: hover(item), onpointerleave: hover(null), onfocus: hover(item), onblur: hover(null),
    }, h("span", { class: "word" }, row.context || row.text), h("span", { class: "cosine", "data-value": String(row.cosine) }, number(row.cosine)), bar));
  }

  // The nearest few of each layer side by side; those that stay from the layer before are in the accent colour.
  function acrossLayers() {
    return [...new Set(result.rows.map((row) => row.space))].map((space) => {
      const rows = result.rows.filter((row) => row.space === space && row.rank <= LAYERS_BESIDE);
      const layers = [...new Set(rows.map((row) => row.layer_name))];
      if (layers.length < 2) return null;
      const before = (layer) => new Set(rowsOf(space, layers[layers.indexOf(layer) - 1]).map((row) => row.item_id));
      return h("div", {}, h("h3", {}, "Layer by layer"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Neighbours in ${space}, layer by layer` },
        h("table", { class: "across" }, h("thead", {}, h("tr", {}, layers.map((layer) => h("th", { scope: "col" }, layer)))),
          h("tbody", {}, Array.from({ length: LAYERS_BESIDE }, (_, rank) => h("tr", {}, layers.map((layer) => {
            const row = rows.find((each) => each.layer_name === layer && each.rank === rank + 1);
            return h("td", { class: row && before(layer).has(row.item_id) && "kept", title: row && `${row.context || row.text} ${row.cosine}` }, row && shortened(row.text, 18));
          })))))), h("p", { class: "hint" }, "Coloured: also near in the layer before."));
    });
  }

  queueMicrotask(update);
  return { element, update, apply, layerChanged };
}
