// Turns strokes into the 28 x 28 image that the network takes, with the preprocessing of MNIST: the drawing is scaled to fit a
// box of 20 x 20 pixels, with its aspect ratio kept and in grey levels, and placed so that its centre of mass is in the middle
// pixel of the image.
//
// The page does this, not the server, because the page has the strokes as lines without a resolution. The grey level of a pixel
// follows from its distance to the nearest line, which gives the same image in every browser, and before the server answers.
// This file uses no canvas and no part of the page, so that tests can call it with numbers.

export const SIZE = 28;
const BOX = 20;
const MIDDLE = 14; // the pixel of the centre of mass in MNIST

// Half the width of a line and of its grey edge, in pixels of the box: the total ink and the share of black pixels are then as in
// MNIST. The width does not depend on the size of the drawing. If it were scaled, small drawings would have thick lines.
const RADIUS = 1.35;
const EDGE = 0.5;

// A drawing that is smaller than this fraction of the pad is not enlarged to fill the box: a dot stays a dot.
const SMALLEST = 0.2;

/**
 * @param {number[][][]} strokes lists of points [x, y], from 0 to 1 across and down the pad
 * @returns {number[]} 784 whole numbers from 0 (background) to 255 (ink), row-major; all 0 without strokes
 */
export function imageOf(strokes) {
  const box = drawBox(fit(strokes));
  const [across, down] = centreOfMass(box);
  const right = Math.round(MIDDLE - across);
  const below = Math.round(MIDDLE - down);
  const image = new Array(SIZE * SIZE).fill(0);
  for (let y = 0; y < BOX; y++) {
    for (let x = 0; x < BOX; x++) {
      const value = Math.round(255 * box[y * BOX + x]);
      // If the centre of mass is far from the middle of the box, ink can end up outside of the image, where it is cut off.
      const inside = x + right >= 0 && x + right < SIZE && y + below >= 0 && y + below < SIZE;
      if (value > 0 && inside) image[(y + below) * SIZE + x + right] = value;
    }
  }
  return image;
}

/** Scale the strokes to pixels of the box, so that the ink reaches its edges. */
function fit(strokes) {
  const points = strokes.flat();
  if (points.length === 0) return [];
  const bounds = [0, 1].map((axis) => {
    let low = Infinity;
    let high = -Infinity;
    for (const point of points) {
      low = Math.min(low, point[axis]);
      high = Math.max(high, point[axis]);
    }
    return { middle: (low + high) / 2, length: high - low };
  });
  const longest = Math.max(bounds[0].length, bounds[1].length, SMALLEST);
  const scale = (BOX - 2 * (RADIUS + EDGE)) / longest;
  return strokes.map((stroke) => stroke.map((point) => point.map((c, axis) => BOX / 2 + scale * (c - bounds[axis].middle))));
}

/** Draw the strokes; return the grey levels of the box, from 0 to 1. */
function drawBox(strokes) {
  const box = new Float64Array(BOX * BOX);
  for (const stroke of strokes) {
    if (stroke.length === 1) drawLine(box, stroke[0], stroke[0]);
    for (let i = 1; i < stroke.length; i++) drawLine(box, stroke[i - 1], stroke[i]);
  }
  return box;
}

/** Draw a line from one point to another into the box. */
function drawLine(box, [x0, y0], [x1, y1]) {
  const reach = RADIUS + EDGE;
  const first = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - reach));
  const last = (a, b) => Math.min(BOX - 1, Math.floor(Math.max(a, b) + reach));
  const [dx, dy] = [x1 - x0, y1 - y0];
  const squared = dx * dx + dy * dy;
  for (let y = first(y0, y1); y <= last(y0, y1); y++) {
    for (let x = first(x0, x1); x <= last(x0, x1); x++) {
      // From the middle of the pixel to the nearest point of the line.
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const along = squared > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / squared)) : 0;
      const distance = Math.hypot(px - along * dx, py - along * dy);
      const grey = Math.min(1, Math.max(0, (RADIUS + EDGE - distance) / (2 * EDGE)));
      box[y * BOX + x] = Math.max(box[y * BOX + x], grey); // so that crossing lines are not darker
    }
  }
}

/** Return the centre of mass [x, y], where the middle of pixel k is at k; for an empty box, its middle. */
function centreOfMass(box) {
  let [mass, across, down] = [0, 0, 0];
  box.forEach((value, i) => {
    mass += value;
    across += value * (i % BOX);
    down += value * Math.floor(i / BOX);
  });
  return mass > 0 ? [across / mass, down / mass] : [(BOX - 1) / 2, (BOX - 1) / 2];
}
