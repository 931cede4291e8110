// What the pages do beyond links and forms: draw charts, answer keys, copy commands. Without it they can still be read.
"use strict";

const AREAS = { o: "/", m: "/models", l: "/releases", t: "/rollouts", w: "/monitoring", d: "/decisions", r: "/runs", s: "/data", h: "/health" };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A text like "--accent" in a figure is the name of a colour; figures know nothing of light and dark.
function coloured(value) {
  if (typeof value === "string") return value.startsWith("--") ? colour(value) || value : value;
  if (Array.isArray(value)) return value.map(coloured);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item)]));
  return value;
}

function layout(given, height, legend) {
  const axis = { gridcolor: colour("--grid"), zeroline: false, linecolor: colour("--line"), tickcolor: colour("--line"), automargin: true };
  const base = {
    height,
    margin: { l: 48, r: 12, t: legend ? 28 : 8, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("--dim") },
    hoverlabel: { bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    legend: { orientation: "h", y: 1.0, yanchor: "bottom", x: 0 },
    hovermode: "closest",
    xaxis: axis,
    yaxis: axis,
  };
  const own = coloured(given);
  return { ...base, ...own, xaxis: { ...axis, ...own.xaxis }, yaxis: { ...axis, ...own.yaxis } };
}

const figures = new Map(); // Plotly empties the place that it draws in, so the figure is read once and kept

function draw(place) {
  if (!figures.has(place)) figures.set(place, JSON.parse(place.querySelector("script").textContent));
  const figure = figures.get(place);
  place.style.height = `${place.dataset.height}px`; // what it keeps when the window changes
  const given = figure.layout || {};
  const shown = layout(given, Number(place.dataset.height), given.showlegend);
  const options = { displayModeBar: false, responsive: true };
  return Plotly.react(place, coloured(figure.data), shown, options).then(() => { place.dataset.drawn = "yes"; });
}

function drawAll() {
  if (typeof Plotly !== "undefined") document.querySelectorAll("[data-chart]").forEach(draw);
}

// Rows: j and k move, Enter opens, x chooses.
function rows() {
  return [...document.querySelectorAll("main [data-row]")].filter((row) => row.offsetParent !== null);
}

function move(by) {
  const all = rows();
  if (!all.length) return;
  const now = all.findIndex((row) => row.classList.contains("here"));
  const next = all[now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + by, 0), all.length - 1)];
  if (now >= 0) all[now].classList.remove("here");
  next.classList.add("here");
  next.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && typing) return typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const here = document.querySelector("[data-row].here");
  if (onKey.area) {
    onKey.area = false;
    if (AREAS[event.key]) location.assign(AREAS[event.key]);
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    const field = document.querySelector("[data-search=first]") || document.querySelector("[data-search]");
    field.focus();
    field.select();
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "g") onKey.area = true;
  else if (event.key === "?") toggleKeys();
  else if (event.key === "Enter" && here && !event.target.closest("a, button, summary, input")) here.querySelector("a")?.click();
  else if (event.key === "x" && here) here.querySelector("input[type=checkbox]")?.click();
}

function toggleKeys() {
  const keys = document.getElementById("keys");
  if (keys.open) keys.close();
  else keys.showModal();
}

// The button says how many runs are chosen, and works from two on.
function countChosen() {
  const button = document.querySelector("[data-compare]");
  if (!button) return;
  const chosen = document.querySelectorAll("input[name=run]:checked").length;
  button.disabled = chosen < 2;
  button.textContent = chosen < 2 ? "Choose runs to compare" : `Compare ${chosen} runs`;
}

function copyable(command) {
  command.dataset.ready = "yes";
  command.title = "Copy";
  command.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command.textContent);
    command.classList.add("copied");
    setTimeout(() => command.classList.remove("copied"), 1500);
  });
}

// The gate's report stands in a frame of its own, which can reach nothing here: it only says how high it is.
function fit(frame) {
  addEventListener("message", (event) => {
    const height = event.source === frame.contentWindow && event.data && event.data.tidegateHeight;
    if (Number.isFinite(height) && height > 0) frame.style.height = `${Math.min(Math.ceil(height), 100000) + 4}px`;
  });
  frame.contentWindow.postMessage("tidegateHeight", "*"); // it may have said so before anybody listened
}

// MLflow's clients print links to a run as MLflow's own pages have them: /#/experiments/0/runs/ID
const linked = location.hash.match(/^#\/experiments\/[^/]+\/runs\/([\w-]+)/);
if (linked) location.replace(`/runs/${linked[1]}`);

// An approval is the one thing that a page can send: JSON, to its own server, bound to the receipt that it shows.
async function approve(event) {
  event.preventDefault();
  const form = event.target;
  const refused = form.querySelector("[data-refused]"), button = form.querySelector("button");
  const { approver, comment } = Object.fromEntries(new FormData(form));
  const body = JSON.stringify({ receipt: form.dataset.receipt, approver: approver || "", comment });
  button.disabled = true; // one click, one approval
  let error = { what: "The server cannot be reached" };
  try {
    const answer = await fetch(form.dataset.approve, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (answer.ok) { location.reload(); return; }
    error = (await answer.json()).error;
  } catch { /* no answer, or none of ours: that is what it says already */ }
  button.disabled = false;
  refused.textContent = [error.what, error.why, error.fix].filter(Boolean).join(". ");
  refused.hidden = false;
}

document.addEventListener("keydown", onKey);
document.addEventListener("change", countChosen);
document.querySelectorAll("[data-copy]").forEach(copyable);
document.querySelectorAll("[data-approve]").forEach((form) => { form.hidden = false; form.addEventListener("submit", approve); });
document.querySelectorAll("[data-fit]").forEach(fit);
document.querySelectorAll("[data-help]").forEach((button) => { button.hidden = false; button.addEventListener("click", toggleKeys); });
countChosen();
document.addEventListener("DOMContentLoaded", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
