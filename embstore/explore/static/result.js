// The result of a metric: its picture, its notes, its numbers, and the command for them.

import { commands } from "./command.js";
import { h } from "./dom.js";
import { notes, table } from "./table.js";

const HIDDEN = new Set(["model", "unit", "pooling", "template", "layer", "layer_2", "model_2", "where"]);
const IN_NOTES = new Set(["seed"]);

export function metricResult(found, name) {
  const varies = (column) => new Set(found.rows.map((row) => JSON.stringify(row[column]))).size > 1;
  const filled = found.columns.filter((column) => found.rows.some((row) => row[column] !== null) && !HIDDEN.has(column));
  const columns = found.rows.length > 1 ? filled.filter((column) => varies(column)) : filled;
  const same = filled.filter((column) => !columns.includes(column) && !IN_NOTES.has(column));
  return [
    found.svg ? figure(found.svg, name) : found.no_picture && h("p", { class: "hint" }, `No picture: ${found.no_picture}`),
    notes(found.notes),
    same.length > 0 && h("p", { class: "muted" }, `In every row: ${same.map((column) => `${column} ${found.rows[0][column]}`).join(" · ")}`),
    found.rows.length ? table(columns.map((column) => column.replace("layer_name", "layer")), found.rows, { keys: columns, caption: `Result of ${name}` }) : h("p", { class: "muted" }, "No row."),
    commands(found),
  ];
}

// An SVG in an img runs nothing and loads nothing.
function figure(svg, name) {
  const image = h("img", { alt: `Picture of ${name}; the table below has its numbers` });
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.src = address;
  const save = h("button", { type: "button", class: "quiet", onclick: () => {
    const link = h("a", { href: URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })), download: `${name}.svg` });
    link.click();
    URL.revokeObjectURL(link.href);
  } }, "Save as SVG");
  return h("figure", {}, image, save);
}
