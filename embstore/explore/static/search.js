// A field for a text of the store, with suggestions: a combobox of the ARIA practices.

import { get } from "./api.js";
import { announce, fill, h, shortened } from "./dom.js";

let number = 0;

export function searchField({ label, value, space, onpick }) {
  const id = `search-${number += 1}`;
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": "Suggestions", hidden: true });
  const input = h("input", {
    id, type: "search", value, autocomplete: "off", spellcheck: "false", role: "combobox", "aria-expanded": "false",
    "aria-controls": `${id}-list`, "aria-autocomplete": "list", "data-search": true, placeholder: "A text of the store",
  });
  let texts = [], active = -1, timer = 0, control = null;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const pick = (text) => { control?.abort(); clearTimeout(timer); input.value = text; close(); onpick(text); };
  const mark = (place) => {
    active = (place + texts.length) % texts.length;
    [...list.children].forEach((row, i) => row.setAttribute("aria-selected", String(i === active)));
    list.children[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `${id}-${active}`);
  };
  const look = async () => {
    control?.abort();
    control = new AbortController();
    if (!input.value.trim()) return close();
    try {
      texts = (await get("/api/suggest", { space: space(), typed: input.value }, control.signal)).texts;
    } catch (error) {
      if (error.name !== "AbortError") announce(error.message);
      return undefined;
    }
    if (document.activeElement !== input) return undefined;
    if (!texts.length) { announce("No suggestion."); return close(); }
    fill(list, texts.map((text, i) => h("li", {
      id: `${id}-${i}`, role: "option", "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); pick(text); },
    }, shortened(text, 120))));
    list.hidden = false;
    active = -1;
    input.setAttribute("aria-expanded", "true");
    announce(`${texts.length} suggestions.`);
    return undefined;
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 90); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && !list.hidden) { event.preventDefault(); mark(active + 1); }
    else if (event.key === "ArrowUp" && !list.hidden) { event.preventDefault(); mark(active < 0 ? texts.length - 1 : active - 1); }
    else if (event.key === "Escape") { if (list.hidden) input.value = ""; close(); }
    else if (event.key === "Enter") { event.preventDefault(); pick(active >= 0 ? texts[active] : input.value.trim()); }
  });
  const element = h("div", { class: "field combo" }, h("label", { for: id }, label), input, list);
  return { element, input };
}
