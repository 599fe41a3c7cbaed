// Small helpers to make elements. Texts only ever become text nodes, never HTML.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "disabled", "hidden", "selected", "required"].includes(name)) element[name] = value;
    else if (["title", "aria-label", "alt"].includes(name)) element.setAttribute(name, shown(String(value)));
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(shown(String(child))));
  }
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// Control and bidirectional characters, which would reorder or hide the text around them, as escapes.
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
export function shown(text) {
  return text.replace(UNSAFE, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

// A text of at most n letters, with an ellipsis where it is cut.
export function shortened(text, n) {
  const letters = Array.from(text);
  return letters.length > n ? `${letters.slice(0, n - 1).join("")}…` : text;
}

export function field(label, control, hint) {
  const id = control.id || (control.id = `field-${field.n = (field.n || 0) + 1}`);
  const help = hint ? h("span", { class: "hint", id: `${id}-hint` }, hint) : null;
  if (help) control.setAttribute("aria-describedby", help.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, help);
}

export function select(options, value, onchange) {
  return h("select", { onchange: (event) => onchange && onchange(event.target.value) },
    options.map((option) => {
      const [key, label] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: key, selected: key === value }, label);
    }));
}

export function announce(text) {
  document.getElementById("status").textContent = text;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? value.toFixed(4) : value.toExponential(3);
}

export const count = (n) => n.toLocaleString("en");
