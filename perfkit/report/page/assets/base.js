"use strict";
// What all parts of the page share: the data, the making of elements, words for quantities, and the theme.

const DATA = JSON.parse(document.getElementById("data").textContent);

/** Make an element; texts become text nodes, so that no name of a trace is ever read as markup. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Three significant digits and a unit that fits the size, as everywhere in perfkit. */
function duration(ns) {
  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "us"]];
  for (const [scale, unit] of units) {
    if (Math.abs(ns) >= 0.9995 * scale) {
      const value = ns / scale;
      const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
      return `${digits ? value.toFixed(digits) : Math.round(value).toLocaleString("en")} ${unit}`;
    }
  }
  return `${Math.round(ns).toLocaleString("en")} ns`;
}

function percent(part, whole) {
  if (!(part > 0) || !(whole > 0)) return "0 %";
  const value = (100 * part) / whole;
  if (value < 0.05) return "<0.1 %";
  return `${(part < whole ? Math.min(value, 99.9) : value).toFixed(1)} %`;
}

function colourOf(kind) {
  return DATA.colours[kind] || "#9aa5b1";
}

function labelOf(kind) {
  return DATA.labels[kind] || kind.replaceAll("_", " ");
}

/** The colour of a custom property of the style, as it is now. */
function styled(property) {
  return getComputedStyle(document.documentElement).getPropertyValue(property).trim();
}

/** A darker or lighter shade of a colour, the same for the same name: neighbours can be told apart. */
function shade(colour, name) {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = (hash * 31 + name.charCodeAt(i)) | 0;
  const hsl = d3.hsl(colour);
  hsl.l = Math.min(0.82, Math.max(0.4, hsl.l + (((hash >>> 3) % 9) - 4) * 0.022));
  hsl.h += ((hash >>> 9) % 7) - 3;
  return hsl.formatHex();
}

const REDRAW = [];

(function theme() {
  const button = document.getElementById("theme");
  const order = ["auto", "light", "dark"];
  let now = "auto";
  try {
    now = localStorage.getItem("perfkit-theme") || "auto";
  } catch {
    // a file may be opened where nothing can be stored
  }
  function apply() {
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    button.textContent = `Theme: ${now}`;
    for (const draw of REDRAW) draw();
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    now = order[(order.indexOf(now) + 1) % order.length];
    try {
      localStorage.setItem("perfkit-theme", now);
    } catch {
      // as above
    }
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
})();
