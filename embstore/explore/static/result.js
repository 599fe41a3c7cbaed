// The result of a metric: its picture, its notes, its numbers, and the command for them.

import { commands } from "./command.js";
import { h } from "./dom.js";
import { notes, table } from "./table.js";

const SHARED = new Set(["model", "unit", "pooling", "template", "where", "sample", "seed", "transform", "layer"]);

export function metricResult(found, name) {
  const varies = (column) => new Set(found.rows.map((row) => JSON.stringify(row[column]))).size > 1;
  const columns = found.columns.filter((column) => found.rows.some((row) => row[column] !== null) && (!SHARED.has(column) || (column !== "layer" && varies(column))));
  return [
    found.svg ? figure(found.svg, name) : found.no_picture && h("p", { class: "hint" }, `No picture: ${found.no_picture}`),
    notes(found.notes),
    found.rows.length ? table(columns, found.rows, { caption: `Result of ${name}` }) : h("p", { class: "muted" }, "No row."),
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
