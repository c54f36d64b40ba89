// From strokes to the 28 x 28 image that the network reads, made as the images of MNIST were: the ink is scaled to fit a
// box of 20 x 20 with its proportions kept, in grey levels, and moved by whole pixels until its centre of mass is in the
// middle pixel of 28 x 28.
//
// It happens in the page because here are the lines themselves, which have no resolution: grey levels come from the
// distance of a pixel to the line, the same in every browser, and the preview is there before the network has answered.
// There is no canvas and no page in this file, so that a test can call it with numbers.

export const SIZE = 28;
const BOX = 20;
const MIDDLE = 14; // the pixel that MNIST's centres of mass lie in, whichever way they were rounded

// Half the width of a line, in pixels, its grey edge being one pixel wide. Ink and share of black pixels are then those of
// MNIST. The width is the same for whoever writes small or large: with scaled lines, small writing would become thick.
const RADIUS = 1.35;
const EDGE = 0.5;

// A drawing that is smaller than this, as a part of the paper, is not enlarged to fill the box: a dot stays a dot.
const SMALLEST = 0.2;

/**
 * @param {number[][][]} strokes lines as lists of points [x, y], 0 to 1 across and down the paper
 * @returns {number[]} 784 whole numbers, 0 (paper) to 255 (ink), row by row; all 0 if there is nothing
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
      // Ink far from the rest can leave the image, and is cut off: MNIST has no other place for it either.
      const inside = x + right >= 0 && x + right < SIZE && y + below >= 0 && y + below < SIZE;
      if (value > 0 && inside) image[(y + below) * SIZE + x + right] = value;
    }
  }
  return image;
}

/** The strokes in pixels of the box; where ink ends, the box does. */
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

/** The grey levels, 0 to 1, of lines through these points. */
function drawBox(strokes) {
  const box = new Float64Array(BOX * BOX);
  for (const stroke of strokes) {
    if (stroke.length === 1) drawLine(box, stroke[0], stroke[0]);
    for (let i = 1; i < stroke.length; i++) drawLine(box, stroke[i - 1], stroke[i]);
  }
  return box;
}

function drawLine(box, [x0, y0], [x1, y1]) {
  const reach = RADIUS + EDGE;
  const first = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - reach));
  const last = (a, b) => Math.min(BOX - 1, Math.floor(Math.max(a, b) + reach));
  const [dx, dy] = [x1 - x0, y1 - y0];
  const squared = dx * dx + dy * dy;
  for (let y = first(y0, y1); y <= last(y0, y1); y++) {
    for (let x = first(x0, x1); x <= last(x0, x1); x++) {
      // The nearest point of the line to the middle of the pixel.
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const along = squared > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / squared)) : 0;
      const distance = Math.hypot(px - along * dx, py - along * dy);
      const grey = Math.min(1, Math.max(0, (RADIUS + EDGE - distance) / (2 * EDGE)));
      box[y * BOX + x] = Math.max(box[y * BOX + x], grey); // crossing lines are not darker
    }
  }
}

/** Where pixel k has its middle at k; the middle of the box if it is empty. */
function centreOfMass(box) {
  let [mass, across, down] = [0, 0, 0];
  box.forEach((value, i) => {
    mass += value;
    across += value * (i % BOX);
    down += value * Math.floor(i / BOX);
  });
  return mass > 0 ? [across / mass, down / mass] : [(BOX - 1) / 2, (BOX - 1) / 2];
}
