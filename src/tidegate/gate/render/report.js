// What the report does beyond being read: figures under the pointer, tables in order. Without it nothing is missing but that.
"use strict";

const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("role", "status");
document.body.append(tip);

function say(text, box) {
  tip.textContent = text;
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const x = Math.min(Math.max(8, box.left + box.width / 2 - size.width / 2), innerWidth - size.width - 8);
  const above = box.top - size.height - 10;
  tip.style.left = `${x}px`;
  tip.style.top = `${above > 4 ? above : box.bottom + 10}px`;
}

function hush() {
  tip.hidden = true;
  document.querySelectorAll(".spot").forEach((spot) => spot.remove());
}

document.querySelectorAll("[data-tip]").forEach((place) => {
  place.tabIndex = 0;
  for (const event of ["pointerenter", "focus"]) place.addEventListener(event, () => say(place.dataset.tip, place.getBoundingClientRect()));
  for (const event of ["pointerleave", "blur"]) place.addEventListener(event, hush);
});

function shown(value, span) {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(span || 1)));
  return value.toFixed(Math.min(digits, 6));
}

// A plot says its scales in attributes, its points are in the paths: nothing else is needed to read it.
function plot(svg) {
  const numbers = (name) => svg.getAttribute(`data-${name}`).split(" ").map(Number);
  const [left, top, width, height] = numbers("box");
  const [x0, x1] = numbers("x");
  const [y0, y1] = numbers("y");
  const points = [];
  svg.querySelectorAll("path[data-name]").forEach((path) => {
    for (const [, x, y] of path.getAttribute("d").matchAll(/[ML]([-\d.]+) ([-\d.]+)/g)) points.push({ x: +x, y: +y, name: path.dataset.name });
  });
  let now = -1;

  function show(index) {
    now = index;
    const point = points[index];
    document.querySelectorAll(".spot").forEach((spot) => spot.remove());
    const spot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    spot.setAttribute("class", "spot");
    spot.setAttribute("cx", point.x);
    spot.setAttribute("cy", point.y);
    spot.setAttribute("r", 6);
    svg.append(spot);
    const x = shown(x0 + ((point.x - left) / width) * (x1 - x0), x1 - x0);
    const y = shown(y1 - ((point.y - top) / height) * (y1 - y0), y1 - y0);
    const axis = (name) => name.replace(/ \(.*/, "");
    say(`${point.name}: ${axis(svg.dataset.across)} ${x}, ${axis(svg.dataset.up)} ${y}`, spot.getBoundingClientRect());
  }

  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = -1;
    let least = 900;
    points.forEach((point, index) => {
      const far = (point.x - at.x) ** 2 + (point.y - at.y) ** 2;
      if (far < least) [best, least] = [index, far];
    });
    if (best >= 0) show(best);
    else hush();
  });
  svg.addEventListener("pointerleave", hush);
  svg.addEventListener("blur", hush);
  svg.tabIndex = 0;
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") hush();
    if (by === undefined || !points.length) return;
    event.preventDefault();
    show(Math.min(Math.max(now + by, 0), points.length - 1));
  });
}

document.querySelectorAll("[data-plot]").forEach(plot);

function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.v ?? cell.textContent;
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

function order(table, head, column) {
  const down = head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [value(one, column), value(other, column)];
    const sign = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return down ? -sign : sign;
  });
  body.append(...rows);
}

document.querySelectorAll("table[data-sort]").forEach((table) => {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => order(table, head, column));
  });
});

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });

// In a frame that may touch nothing else the page around it is told how high this one is.
function tellHeight() {
  parent.postMessage({ tidegateHeight: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
}

if (parent !== window) {
  new ResizeObserver(tellHeight).observe(document.body);
  addEventListener("message", (event) => { if (event.source === parent) tellHeight(); });
}
