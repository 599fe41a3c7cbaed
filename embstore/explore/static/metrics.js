// The view Metrics: any metric of spaces and layers, its picture, its numbers, and the command for them.

import { get, post } from "./api.js";
import { field, fill, h, select } from "./dom.js";
import { job } from "./job.js";
import { isDark } from "./palette.js";
import { metricResult } from "./result.js";
import { set, state } from "./state.js";

export function show(main, store) {
  const spaces = store.spaces.filter((space) => space.items);
  const names = store.metrics.map((metric) => metric.name);
  const metric = select(names, names.includes(state.metric) ? state.metric : names[0], (value) => { set({ metric: value, parameters: "" }); declare(); });
  const ticked = new Set(state.space ? state.space.split(",") : []);
  const boxes = spaces.map((space) => h("input", { type: "checkbox", value: space.space, checked: ticked.has(space.space), onchange: () => set({ space: boxes.filter((box) => box.checked).map((box) => box.value).join(",") }) }));
  const text = (key, placeholder) => { const input = h("input", { type: "text", value: state[key], placeholder, onchange: () => set({ [key]: input.value }) }); return input; };
  const layers = text("layers", "all"), where = text("where", "length(text) > 3"), sample = text("sample", "all"), seed = text("seed", "0"), transforms = text("transforms", "center, abtt:2"), by = text("by", "none"), bins = text("bins", "none");
  const columns = [...store.columns, ...store.built_in];
  by.setAttribute("list", "item-columns");
  const about = h("div", {}), own = h("div", {}), result = h("div", {});
  const run = h("button", {}, "Compute");
  let fields = {}; // name of a parameter → its declaration and its input

  async function declare() {
    fill(result, h("p", { class: "muted" }, "Compute it to see its picture and its numbers."));
    try {
      const declared = await get("/api/metric", { name: metric.value });
      if (declared.name !== metric.value) return;
      const given = givenParameters();
      fields = Object.fromEntries(declared.parameters.map((each) => [each.name, { declared: each, input: control(each, given[each.name]) }]));
      fill(own, declared.parameters.map((each) => field(each.name.replaceAll("_", " "), fields[each.name].input, each.help)));
      fill(about, h("p", { class: "lead" }, declared.help), h("pre", { tabindex: "0", "aria-label": "Formula" }, declared.formula),
        h("details", {}, h("summary", {}, "How it is estimated"), h("p", {}, declared.estimator), h("p", { class: "muted" }, declared.citation)));
    } catch (error) {
      fill(about, h("p", { class: "error", role: "alert" }, error.message));
    }
  }

  function control(each, value) {
    if (each.choices.length) return select(each.choices, value ?? each.default);
    if (["label", "column"].includes(each.name)) return select([["", "choose a column"], ...new Set([...columns, ...(value ? [value] : [])])], value ?? "");
    if (each.type === "bool") return h("input", { type: "checkbox", checked: value ?? each.default });
    return h("input", { type: "text", value: value ?? "", placeholder: [].concat(each.default ?? "").join(", ") });
  }

  function givenParameters() {
    return JSON.parse(state.parameters || "{}");
  }

  // The parameters that differ from their defaults.
  function parameters() {
    const found = {};
    for (const [name, { declared, input }] of Object.entries(fields)) {
      const text = input.value.trim(), number = Number(text);
      if (input.type === "checkbox") found[name] = input.checked;
      else if (text !== "") found[name] = ["int", "float"].includes(declared.type) && Number.isFinite(number) ? number : text;
      if (found[name] === declared.default) delete found[name];
    }
    return found;
  }

  function compute() {
    const values = parameters();
    set({ parameters: JSON.stringify(values) });
    const body = {
      name: metric.value, parameters: values, theme: isDark() ? "dark" : "screen", width: Math.max(300, Math.min(760, result.clientWidth || 640)),
      options: {
        spaces: boxes.filter((box) => box.checked).map((box) => box.value), layers: layers.value || "all", where: where.value, sample: sample.value ? Number(sample.value) : null,
        seed: Number(seed.value) || 0, transforms: transforms.value.split(/,(?!\s*\d)/).map((part) => part.trim()).filter(Boolean), // drop:1,2 is one
        by: by.value.trim(), bins: bins.value.trim(),
      },
    };
    return job(result, `Computing ${metric.value}`, (signal) => post("/api/metric", body, signal), (found) => metricResult(found, metric.value));
  }

  fill(main, h("section", { class: "page" }, h("h1", {}, "Metrics"), h("div", { class: "columns" },
    h("form", { onsubmit: (event) => { event.preventDefault(); compute(); } }, field("Metric", metric),
      h("fieldset", { class: "plain" }, h("legend", {}, "Spaces (none: all)"), boxes.map((box) => h("label", { class: "inline" }, box, box.value))),
      field("Layers", layers), own, h("details", { open: Boolean(state.where || state.sample || state.transforms || state.by) }, h("summary", {}, "Which items"), field("Where", where, "SQL over the item columns"), field("Sample", sample, "Items drawn at random"),
        field("Seed", seed), field("Transforms", transforms, "center, standardize, abtt:K, drop:1,2, whiten, normalize, clamp:0.95"),
        field("By", by, "A column of the items: a row for each of its values"), h("datalist", { id: "item-columns" }, columns.map((value) => h("option", { value }))), field("Bins", bins, "Intervals of a column of numbers: how many, or their edges")), run),
    h("div", {}, about, result))));
  declare().then(() => { if (state.parameters || location.hash.includes("metric=")) compute(); });
}
