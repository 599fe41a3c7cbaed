// A table of results, and the notes on it.

import { h, number } from "./dom.js";

export function table(columns, rows, { caption, keys = columns, right = [] } = {}) {
  const isNumber = keys.map((key) => right.includes(key) || rows.some((row) => typeof row[key] === "number"));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || "Result" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((name, i) => h("th", { scope: "col", class: isNumber[i] && "n" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, keys.map((key, i) => cell(row[key], isNumber[i])))))));
}

function cell(value, isNumber) {
  const text = Array.isArray(value) || (value !== null && typeof value === "object") ? JSON.stringify(value, null, 0) : number(value);
  return h("td", { class: isNumber ? "n" : text.length > 40 ? "long" : null, title: typeof value === "number" ? String(value) : null }, text.length > 400 ? `${text.slice(0, 400)}…` : text);
}

export function notes(list) {
  return list.length ? h("ul", { class: "notes" }, list.map((note) => h("li", {}, note))) : null;
}
