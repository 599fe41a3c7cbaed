// Colours of the theme, of categories (Okabe and Ito, told apart by colour-blind readers), and of numbers.

const CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56a9dd", "#7a5ab0", "#8a8f2a"];
const LIGHT = ["#cfdcdf", "#8fb9c2", "#3f8c9b", "#0f5a6c", "#06303d"];
const DARK = ["#24363b", "#2f6470", "#47a0a8", "#93d6cf", "#f1f7e3"];
const OTHER = "#8c9297";

export const isDark = () => document.documentElement.dataset.theme === "dark";
export const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const categoryColour = (place) => (place < CATEGORIES.length ? CATEGORIES[place] : OTHER);
export const N_CATEGORIES = CATEGORIES.length;

export function rgb(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export function ramp(share) {
  const stops = (isDark() ? DARK : LIGHT).map(rgb);
  const at = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(at));
  return stops[low].map((value, i) => Math.round(value + (stops[low + 1][i] - value) * (at - low)));
}

// Limits of the scale of numbers: the 1st and 99th percentile, so that single outliers do not use it up.
export function limits(values) {
  const sorted = values.filter((value) => typeof value === "number").sort((a, b) => a - b);
  if (!sorted.length) return [0, 1];
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return [at(0.01), at(0.99)];
}

// The colour of each item by its value, as a function of its place.
export function shades(found) {
  if (!found) { const plain = rgb(ink("dot")); return () => plain; }
  const other = rgb(OTHER);
  if (found.categories) {
    const colours = found.categories.map((_, place) => rgb(categoryColour(place)));
    return (at) => colours[found.values[at]] ?? other;
  }
  const [low, high] = limits(found.values);
  const numbers = Array.from({ length: 256 }, (_, i) => ramp(i / 255));
  return (at) => {
    const value = found.values[at];
    return typeof value === "number" ? numbers[Math.max(0, Math.min(255, Math.round((value - low) / (high - low || 1) * 255)))] : other;
  };
}

// RGBA of each item, not premultiplied: uint8 (n × 4). What is not selected is faint.
export function paint(n, found, selected) {
  const colours = new Uint8Array(4 * n);
  const shade = shades(found);
  for (let at = 0; at < n; at++) {
    let colour = shade(at);
    const isIn = !selected || selected.has(at);
    if (selected && isIn && !found) colour = rgb(ink("accent"));
    colours.set(colour, 4 * at);
    const isFaint = found && typeof found.values[at] !== "number";
    colours[4 * at + 3] = isIn && isFaint ? 70 : isIn ? (found || selected ? 225 : 165) : 45;
  }
  return colours;
}
