// The page: the paper one writes on, and what the network answers. The network runs in nnpy, which this page asks.

import { imageOf, SIZE } from "/image.js";

const LINE_WIDTH = 0.06; // of the paper
const STEP = 0.04; // of the pen on the keyboard, as a part of the paper
const SMALL_STEP = 0.01;
const WAIT = 500; // ms without a change before the answer is read out, or nothing would be heard but digits
const RETRY = 2000; // ms

const [paper, hint, pen, undoButton, clearButton, network, problem, picture, layers, answer, best, sure, bars, status] = [
  "paper", "hint", "pen", "undo", "clear", "network", "problem", "image", "layers", "answer", "best", "sure", "bars", "status",
].map((id) => document.getElementById(id));

// A stroke is a list of points [x, y], 0 to 1 across and down the paper. Undo goes back to the former list of strokes.
let strokes = [];
const former = [];
let pointer = null; // the id of the pointer that is writing
const keyboard = { x: 0.5, y: 0.2, down: false, held: new Set() };

let shown = null; // the answer on the page
let wanted = null; // an image that the network has not been asked about
let asking = false;
let frame = 0;
let timer = 0;

// ---- Strokes

function begin(point) {
  former.push(strokes);
  strokes = [...strokes, [point]];
  changed();
}

function extend(points) {
  strokes.at(-1).push(...points);
  changed();
}

function undo() {
  if (former.length === 0) return;
  letGo();
  strokes = former.pop();
  changed();
  say(strokes.length > 0 ? "Undone" : "Undone, the paper is empty");
}

function clear() {
  if (strokes.length === 0) return;
  letGo();
  former.push(strokes);
  strokes = [];
  changed();
  say("Cleared");
}

function letGo() {
  pointer = null;
  keyboard.down = false;
}

function changed() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const image = imageOf(strokes);
    drawPaper();
    drawImage(image);
    undoButton.setAttribute("aria-disabled", former.length === 0);
    clearButton.setAttribute("aria-disabled", strokes.length === 0);
    if (strokes.length > 0) {
      wanted = image;
      ask();
    } else {
      wanted = null;
      show(null);
    }
  });
}

// ---- Mouse, finger, pen

function place(event) {
  const { left, top, width, height } = paper.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height].map((c) => Math.min(1, Math.max(0, c)));
}

paper.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  letGo();
  pointer = event.pointerId;
  paper.setPointerCapture(pointer);
  paper.parentElement.classList.remove("keyed");
  begin(place(event));
});

paper.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  // All the places since the last event: a fast line stays round. Some browsers give none.
  const events = event.getCoalescedEvents?.() ?? [];
  extend((events.length > 0 ? events : [event]).map(place));
});

for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
  paper.addEventListener(type, (event) => {
    if (event.pointerId === pointer) pointer = null;
  });
}

// ---- Keyboard

const DIRECTIONS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};

paper.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || pointer !== null) return;
  if (event.key === " ") {
    if (!event.repeat) lowerOrLift();
  } else if (event.key in DIRECTIONS) {
    keyboard.held.add(event.key);
    move(event.shiftKey ? SMALL_STEP : STEP);
  } else {
    return;
  }
  event.preventDefault();
  paper.parentElement.classList.add("keyed");
  drawPen();
});

paper.addEventListener("keyup", (event) => keyboard.held.delete(event.key));

paper.addEventListener("blur", () => {
  keyboard.held.clear();
  keyboard.down = false;
  paper.parentElement.classList.remove("keyed");
  drawPen();
});

function lowerOrLift() {
  keyboard.down = !keyboard.down;
  if (keyboard.down) begin([keyboard.x, keyboard.y]);
  const [x, y] = [keyboard.x, keyboard.y].map((c) => Math.round(100 * c));
  say(`Pen ${keyboard.down ? "down" : "up"}, ${x} across, ${y} down`);
}

function move(step) {
  // The keys held make one direction: two arrows are a diagonal.
  const sum = [0, 1].map((axis) => [...keyboard.held].reduce((total, key) => total + DIRECTIONS[key][axis], 0));
  const to = (c, direction) => Math.min(1, Math.max(0, c + step * Math.sign(direction)));
  keyboard.x = to(keyboard.x, sum[0]);
  keyboard.y = to(keyboard.y, sum[1]);
  if (keyboard.down) extend([[keyboard.x, keyboard.y]]);
}

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  } else if (!command && !event.altKey && ["Escape", "Delete", "Backspace"].includes(event.key)) {
    clear();
  }
});

undoButton.addEventListener("click", undo);
clearButton.addEventListener("click", clear);

// ---- Drawing

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Fit a canvas to the pixels of the screen; afterwards its lengths are those of the page. */
function sharpen(canvas, width, height) {
  const ratio = window.devicePixelRatio;
  const size = [width, height].map((c) => Math.round(c * ratio));
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function drawPaper() {
  const size = paper.clientWidth;
  const context = sharpen(paper, size, size);
  Object.assign(context, { lineWidth: LINE_WIDTH * size, lineCap: "round", lineJoin: "round", strokeStyle: colour("--ink") });
  for (const stroke of strokes) {
    const points = stroke.map((point) => point.map((c) => c * size));
    context.beginPath();
    context.moveTo(...points[0]);
    // Curves from middle to middle, so that no corners are seen.
    for (let i = 1; i < points.length - 1; i++) {
      const [[x, y], [x1, y1]] = [points[i], points[i + 1]];
      context.quadraticCurveTo(x, y, (x + x1) / 2, (y + y1) / 2);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
  hint.hidden = strokes.length > 0;
  drawPen();
}

function drawPen() {
  pen.style.left = `${100 * keyboard.x}%`;
  pen.style.top = `${100 * keyboard.y}%`;
  pen.classList.toggle("down", keyboard.down);
}

function drawImage(image) {
  const context = picture.getContext("2d");
  context.clearRect(0, 0, SIZE, SIZE);
  context.fillStyle = colour("--ink");
  image.forEach((value, i) => {
    context.globalAlpha = value / 255;
    context.fillRect(i % SIZE, Math.floor(i / SIZE), 1, 1);
  });
  context.globalAlpha = 1;
}

/** A layer as circles that light up: as bright as the neuron is, beside the strongest one. */
function drawLayer(canvas, neurons, values) {
  const columns = Math.ceil(Math.sqrt(1.3 * neurons)); // wider than high: there may be several layers
  const rows = Math.ceil(neurons / columns);
  const width = canvas.clientWidth;
  const cell = width / columns;
  const height = cell * rows;
  canvas.style.height = `${height}px`;
  const context = sharpen(canvas, width, height);
  const strongest = Math.max(...values.map(Math.abs), 1e-30);
  const [accent, below, line] = ["--accent", "--below", "--line"].map(colour);
  for (let i = 0; i < neurons; i++) {
    const value = (values[i] ?? 0) / strongest;
    context.beginPath();
    context.arc(cell * ((i % columns) + 0.5), cell * (Math.floor(i / columns) + 0.5), 0.38 * cell, 0, 2 * Math.PI);
    context.globalAlpha = 1;
    context.fillStyle = line;
    context.fill();
    context.globalAlpha = Math.abs(value);
    context.fillStyle = value < 0 ? below : accent;
    context.fill();
  }
  context.globalAlpha = 1;
}

// ---- The network

async function fetchJson(path, options) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(5000) });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

/** Ask about the last image; while the network computes, newer ones replace each other. */
async function ask() {
  if (asking) return;
  asking = true;
  answer.setAttribute("aria-busy", true);
  while (wanted !== null) {
    const image = wanted;
    wanted = null;
    try {
      const found = await fetchJson("/answer", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ pixels: image }),
      });
      problem.hidden = true;
      if (strokes.length > 0) show(found);
    } catch (error) {
      problem.textContent = `nnpy does not answer: ${error.message}. Is "nnpy draw" still running?`;
      problem.hidden = false;
      await new Promise((resolve) => setTimeout(resolve, RETRY));
      if (strokes.length > 0) wanted ??= image;
    }
  }
  asking = false;
  answer.setAttribute("aria-busy", false);
}

/** In whole percent, but no answer is quite sure. */
function percent(probability) {
  if (probability >= 0.995) return "over 99";
  if (probability < 0.005) return "under 1";
  return String(Math.round(100 * probability));
}

function show(found) {
  shown = found;
  const probabilities = found?.probabilities ?? new Array(10).fill(0);
  const highest = Math.max(...probabilities);
  const digit = found ? probabilities.indexOf(highest) : null;
  [...bars.children].forEach((bar, i) => {
    bar.querySelector(".fill").style.transform = `translateX(${100 * probabilities[i] - 100}%)`;
    const text = percent(probabilities[i]).replace("over ", ">\u2009").replace("under ", "<\u2009");
    bar.querySelector(".percent").textContent = found ? `${text}\u2009%` : "";
    bar.classList.toggle("best-one", i === digit);
  });
  answer.dataset.state = found ? "found" : "empty";
  best.textContent = found ? digit : "?";
  best.setAttribute("aria-hidden", !found);
  sure.textContent = found ? `${percent(highest)} percent sure` : "Nothing written yet";
  picture.setAttribute("aria-label", found ? "Your digit in 28 by 28 grey pixels" : "Nothing yet");
  drawLayers();
  clearTimeout(timer);
  if (found) timer = setTimeout(() => say(`${digit}, ${percent(highest)} percent`), WAIT);
}

function drawLayers() {
  [...layers.querySelectorAll("canvas")].forEach((canvas, l) => {
    const { name, neurons } = canvas.dataset;
    const values = shown?.hidden[l] ?? [];
    drawLayer(canvas, Number(neurons), values);
    canvas.setAttribute("aria-label", `${name}: ${values.filter((value) => value > 0).length} of ${neurons} neurons above 0`);
  });
}

function say(text) {
  clearTimeout(timer);
  status.textContent = text;
}

function describe({ layer_sizes: sizes, activations }) {
  const hidden = sizes.slice(1, -1);
  network.textContent = `A network of ${sizes.join("\u00a0–\u00a0")} neurons answers while you write.`;
  hidden.forEach((neurons, l) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    const name = hidden.length > 1 ? `Hidden layer ${l + 1}` : "Hidden layer";
    const text = hidden.length > 1 ? `${name}: ${neurons}` : `${neurons} hidden neurons,`;
    caption.textContent = `${text} ${activations[l]}`;
    Object.assign(canvas.dataset, { name, neurons });
    canvas.setAttribute("role", "img");
    figure.append(canvas, caption);
    layers.append(figure);
  });
}

// ---- Begin

function drawAll() {
  drawPaper();
  drawImage(imageOf(strokes));
  drawLayers();
}

for (let digit = 0; digit < 10; digit++) {
  const bar = document.createElement("li");
  for (const [name, text] of [["name", digit], ["track", ""], ["percent", ""]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    if (name === "track") part.append(Object.assign(document.createElement("span"), { className: "fill" }));
    bar.append(part);
  }
  bars.append(bar);
}

new ResizeObserver(() => requestAnimationFrame(drawAll)).observe(document.body);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  window.matchMedia(query).addEventListener("change", drawAll);
}
try {
  describe(await fetchJson("/network"));
  drawAll();
} catch (error) {
  problem.textContent = `nnpy does not answer: ${error.message}. Is "nnpy draw" still running?`;
  problem.hidden = false;
}
