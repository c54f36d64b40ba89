// The page: the drawing pad, and the prediction of the network. The network itself runs in nnpy, on the server of this page.

import { imageOf, SIZE } from "/image.js";

const LINE_WIDTH = 0.06; // of the pad
const STEP = 0.04; // of the pen on the keyboard, as a fraction of the pad
const SMALL_STEP = 0.01;
const ANNOUNCE_DELAY = 500; // ms without a change before a screen reader reads the prediction, so that it does not read all the time
const RETRY_DELAY = 2000; // ms
const TIMEOUT = 5000; // ms
const MAX_CELL = 32; // px; the space of a neuron

const [pad, hint, pen, undoButton, clearButton, network, problem, picture, layers, prediction, digitText, probabilityText, bars, status] = [
  "pad", "hint", "pen", "undo", "clear", "network", "problem", "image", "layers", "prediction", "digit", "probability", "bars", "status",
].map((id) => document.getElementById(id));

// A stroke is a list of points [x, y], from 0 to 1 across and down the pad.
let strokes = [];
const undoStack = []; // earlier values of strokes
let activePointer = null; // id of the pointer that draws
const keyboard = { x: 0.5, y: 0.2, down: false, held: new Set() };

let shown = null; // the prediction on the page: { probabilities, hidden }
let pendingImage = null; // the newest image that was not sent yet
let predicting = false;
let frame = 0;
let announceTimer = 0;

// ---- Strokes

function beginStroke(point) {
  undoStack.push(strokes);
  strokes = [...strokes, [point]];
  update();
}

function extendStroke(points) {
  strokes.at(-1).push(...points);
  update();
}

function endStroke() {
  activePointer = null;
  keyboard.down = false;
}

function undo() {
  if (undoStack.length === 0) return;
  endStroke();
  strokes = undoStack.pop();
  update();
  announce(strokes.length > 0 ? "Undone" : "Undone, the pad is empty");
}

function clear() {
  if (strokes.length === 0) return;
  endStroke();
  undoStack.push(strokes);
  strokes = [];
  update();
  announce("Cleared");
}

/** Redraw in the next frame, and request a prediction. */
function update() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const image = imageOf(strokes);
    drawPad();
    drawImage(image);
    undoButton.setAttribute("aria-disabled", undoStack.length === 0);
    clearButton.setAttribute("aria-disabled", strokes.length === 0);
    if (strokes.length > 0) {
      pendingImage = image;
      predict();
    } else {
      pendingImage = null;
      show(null);
    }
  });
}

// ---- Mouse, finger, pen

function positionOf(event) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height].map((c) => Math.min(1, Math.max(0, c)));
}

pad.addEventListener("pointerdown", (event) => {
  if (activePointer !== null || event.button !== 0) return;
  endStroke();
  activePointer = event.pointerId;
  pad.setPointerCapture(activePointer);
  pad.parentElement.classList.remove("keyed");
  beginStroke(positionOf(event));
});

pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== activePointer) return;
  // All positions since the last event, so that a fast line stays round. Some browsers return none.
  const events = event.getCoalescedEvents?.() ?? [];
  extendStroke((events.length > 0 ? events : [event]).map(positionOf));
});

for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
  pad.addEventListener(type, (event) => {
    if (event.pointerId === activePointer) activePointer = null;
  });
}

// ---- Keyboard

const DIRECTIONS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};

pad.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || activePointer !== null) return;
  if (event.key === " ") {
    if (!event.repeat) togglePen();
  } else if (event.key in DIRECTIONS) {
    keyboard.held.add(event.key);
    movePen(event.shiftKey ? SMALL_STEP : STEP);
  } else {
    return;
  }
  event.preventDefault();
  pad.parentElement.classList.add("keyed");
  drawPen();
});

pad.addEventListener("keyup", (event) => keyboard.held.delete(event.key));

pad.addEventListener("blur", () => {
  keyboard.held.clear();
  keyboard.down = false;
  pad.parentElement.classList.remove("keyed");
  drawPen();
});

function togglePen() {
  keyboard.down = !keyboard.down;
  if (keyboard.down) beginStroke([keyboard.x, keyboard.y]);
  const [x, y] = [keyboard.x, keyboard.y].map((c) => Math.round(100 * c));
  announce(`Pen ${keyboard.down ? "down" : "up"}, ${x} % across, ${y} % down`);
}

function movePen(step) {
  // All held keys together give the direction: two arrow keys move diagonally.
  const sum = [0, 1].map((axis) => [...keyboard.held].reduce((total, key) => total + DIRECTIONS[key][axis], 0));
  const moved = (c, direction) => Math.min(1, Math.max(0, c + step * Math.sign(direction)));
  keyboard.x = moved(keyboard.x, sum[0]);
  keyboard.y = moved(keyboard.y, sum[1]);
  if (keyboard.down) extendStroke([[keyboard.x, keyboard.y]]);
}

document.addEventListener("keydown", (event) => {
  const control = event.ctrlKey || event.metaKey;
  if (control && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  } else if (!control && !event.altKey && ["Escape", "Delete", "Backspace"].includes(event.key)) {
    clear();
  }
});

undoButton.addEventListener("click", undo);
clearButton.addEventListener("click", clear);

// ---- Canvases

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Clear a canvas and give it the resolution of the screen; return its context, with lengths in CSS pixels. */
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio;
  const size = [width, height].map((c) => Math.round(c * ratio));
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function drawPad() {
  const size = pad.clientWidth;
  const context = prepare(pad, size, size);
  Object.assign(context, { lineWidth: LINE_WIDTH * size, lineCap: "round", lineJoin: "round", strokeStyle: colour("--ink") });
  for (const stroke of strokes) {
    const points = stroke.map((point) => point.map((c) => c * size));
    context.beginPath();
    context.moveTo(...points[0]);
    // Curves between the midpoints of the segments, so that the line has no corners.
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

/** The grid of circles that fills a rectangle best: the number of columns, and the space of a circle. */
function gridOf(count, width, height) {
  let best = { columns: 1, cell: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const cell = Math.min(MAX_CELL, width / columns, height / Math.ceil(count / columns));
    if (cell > best.cell) best = { columns, cell };
  }
  return best;
}

/** Draw the neurons of a layer as circles. Their opacity is the activation, relative to the largest of the layer. */
function drawLayer(canvas, count, activations) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const { columns, cell } = gridOf(count, width, height);
  const context = prepare(canvas, width, height);
  context.translate(0, height - cell * Math.ceil(count / columns)); // next to the caption below
  const largest = Math.max(...activations.map(Math.abs), 1e-30);
  const [positive, negative, background] = ["--accent", "--negative", "--line"].map(colour);
  for (let i = 0; i < count; i++) {
    const value = (activations[i] ?? 0) / largest;
    context.beginPath();
    context.arc(cell * ((i % columns) + 0.5), cell * (Math.floor(i / columns) + 0.5), 0.38 * cell, 0, 2 * Math.PI);
    context.globalAlpha = 1;
    context.fillStyle = background;
    context.fill();
    context.globalAlpha = Math.abs(value);
    context.fillStyle = value < 0 ? negative : positive;
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawLayers() {
  [...layers.querySelectorAll("canvas")].forEach((canvas, l) => {
    const { name, neurons } = canvas.dataset;
    const activations = shown?.hidden[l] ?? [];
    drawLayer(canvas, Number(neurons), activations);
    canvas.setAttribute("aria-label", `${name}: ${activations.filter((a) => a > 0).length} of ${neurons} neurons are positive`);
  });
}

// ---- Prediction

async function fetchJson(path, options) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

/** Send the newest image. Only one request is under way at a time; images that are outdated by then are not sent. */
async function predict() {
  if (predicting) return;
  predicting = true;
  prediction.setAttribute("aria-busy", true);
  while (pendingImage !== null) {
    const image = pendingImage;
    pendingImage = null;
    try {
      const result = await fetchJson("/predict", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ pixels: image }),
      });
      problem.hidden = true;
      if (strokes.length > 0) show(result);
    } catch (error) {
      showProblem(error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
      if (strokes.length > 0) pendingImage ??= image;
    }
  }
  predicting = false;
  prediction.setAttribute("aria-busy", false);
}

function showProblem(error) {
  problem.textContent = `No prediction from nnpy: ${error.message}. Is "nnpy draw" still running?`;
  problem.hidden = false;
}

/** In whole percent; never 0 or 100, as no prediction is certain. */
function percent(probability) {
  if (probability >= 0.995) return "over 99";
  if (probability < 0.005) return "under 1";
  return String(Math.round(100 * probability));
}

/** Show a prediction { probabilities, hidden }, or null for an empty pad. */
function show(result) {
  shown = result;
  const probabilities = result?.probabilities ?? new Array(10).fill(0);
  const highest = Math.max(...probabilities);
  const digit = result ? probabilities.indexOf(highest) : null;
  [...bars.children].forEach((bar, i) => {
    bar.querySelector(".fill").style.transform = `translateX(${100 * probabilities[i] - 100}%)`;
    const text = percent(probabilities[i]).replace("over ", ">\u2009").replace("under ", "<\u2009");
    bar.querySelector(".percent").textContent = result ? `${text}\u2009%` : "";
    bar.classList.toggle("predicted", i === digit);
  });
  prediction.dataset.state = result ? "predicted" : "empty";
  digitText.textContent = result ? digit : "?";
  digitText.setAttribute("aria-hidden", !result);
  probabilityText.textContent = result ? `probability ${percent(highest).replace(" ", "\u00a0")}\u00a0%` : "Nothing drawn yet";
  picture.setAttribute("aria-label", result ? "Your digit in 28 by 28 grey pixels" : "Empty image");
  drawLayers();
  clearTimeout(announceTimer);
  if (result) announceTimer = setTimeout(() => announce(`${digit}, probability ${percent(highest)} percent`), ANNOUNCE_DELAY);
}

/** Have a screen reader read a text. */
function announce(text) {
  clearTimeout(announceTimer);
  status.textContent = text;
}

/** Text that is left out on small screens. */
function optional(text) {
  return Object.assign(document.createElement("span"), { className: "optional", textContent: text });
}

/** Show the layers of the network, as GET /network describes them. */
function showNetwork({ layer_sizes: sizes, activations }) {
  const hidden = sizes.slice(1, -1);
  network.replaceChildren(`Network: ${sizes.join(" – ")}`, optional(" neurons"));
  hidden.forEach((neurons, l) => {
    const name = hidden.length > 1 ? `Hidden layer ${l + 1}` : "Hidden layer";
    const figure = document.createElement("figure");
    const space = Object.assign(document.createElement("div"), { className: "neurons" });
    const canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    caption.append(`${name}: ${neurons} ${activations[l]}`, optional(" neurons"));
    Object.assign(canvas.dataset, { name, neurons });
    canvas.setAttribute("role", "img");
    space.append(canvas);
    figure.append(space, caption);
    layers.append(figure);
  });
}

// ---- Start

function drawAll() {
  drawPad();
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

const observer = new ResizeObserver(() => requestAnimationFrame(drawAll));
for (const element of [pad, layers]) observer.observe(element);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  window.matchMedia(query).addEventListener("change", drawAll);
}
try {
  showNetwork(await fetchJson("/network"));
  drawAll();
} catch (error) {
  showProblem(error);
}
