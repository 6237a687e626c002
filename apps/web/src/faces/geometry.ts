/**
 * Similarity transforms between a photo and an aligned face (`elir_edge/runtime/faces/warp.py`).
 *
 * Coordinates are (x, y) in pixels; whole numbers are the centres of pixels.
 */

export type Point = readonly [number, number];

/** `[a, b, c, d, e, f]`: (x, y) goes to (a x + b y + c, d x + e y + f). */
export type Matrix = readonly [number, number, number, number, number, number];

/** Left, top, right, bottom; right and bottom lie outside. */
export type Box = readonly [number, number, number, number];

/** Return the mean of points. */
export function meanOf(points: readonly Point[]): Point {
  let [x, y] = [0, 0];
  for (const point of points) [x, y] = [x + point[0], y + point[1]];
  return [x / points.length, y / points.length];
}

/**
 * Return the rotation, scale and shift that bring points nearest to others.
 *
 * In the plane the least squares' closed form (Umeyama 1991, without reflection) is a quotient of
 * complex numbers: the factor is sum(target * conj(source)) / sum(|source|^2), both centred.
 */
export function fitSimilarity(source: readonly Point[], target: readonly Point[]): Matrix {
  const [from, to] = [meanOf(source), meanOf(target)];
  let [real, imaginary, square] = [0, 0, 0];
  source.forEach((point, i) => {
    const [x, y] = [point[0] - from[0], point[1] - from[1]];
    const [u, v] = [target[i][0] - to[0], target[i][1] - to[1]];
    real += u * x + v * y;
    imaginary += v * x - u * y;
    square += x * x + y * y;
  });
  const [cos, sin] = [real / square, imaginary / square];
  const [x, y] = [cos * from[0] - sin * from[1], sin * from[0] + cos * from[1]];
  return [cos, -sin, to[0] - x, sin, cos, to[1] - y];
}

/**
 * Return the transform that turns about a point, which becomes the middle of a square.
 *
 * @param degrees from the x axis to the y axis, which is clockwise as pictures are seen.
 * @param scale pixels of the square per pixel of the source.
 * @param size side of the square.
 */
export function turnAbout([x, y]: Point, degrees: number, scale: number, size: number): Matrix {
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const middle = (size - 1) / 2;
  return [cos, -sin, middle - (cos * x - sin * y), sin, cos, middle - (sin * x + cos * y)];
}

/** Return the way back. */
export function invert([a, b, c, d, e, f]: Matrix): Matrix {
  const determinant = a * e - b * d;
  const [ia, ib, id, ie] = [e, -b, -d, a].map((value) => value / determinant);
  return [ia, ib, -(ia * c + ib * f), id, ie, -(id * c + ie * f)];
}

/** Return the transform that does one after the other. */
export function chain(first: Matrix, second: Matrix): Matrix {
  const [a, b, c, d, e, f] = first;
  const [g, h, , i, j] = second;
  const [x, y] = transform(second, [c, f]);
  return [g * a + h * d, g * b + h * e, x, i * a + j * d, i * b + j * e, y];
}

/** Return a point transformed. */
export function transform([a, b, c, d, e, f]: Matrix, [x, y]: Point): Point {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** Return the transform to a picture `factor` times as large as the one that it leads to. */
export function enlarged([a, b, c, d, e, f]: Matrix, factor: number): Matrix {
  const [x, y] = [(c + 0.5) * factor - 0.5, (f + 0.5) * factor - 0.5];
  return [a * factor, b * factor, x, d * factor, e * factor, y];
}

/** Return the transform to a picture from which the left and the top are cut off. */
export function cutOff([a, b, c, d, e, f]: Matrix, left: number, top: number): Matrix {
  return [a, b, c - left, d, e, f - top];
}

/** Return the target's pixels per pixel of the source. */
export function scaleOf([a, b, , d, e]: Matrix): number {
  return Math.sqrt(Math.abs(a * e - b * d));
}

/** Return the whole pixels that a transformed rectangle covers. */
export function boxOf(matrix: Matrix, width: number, height: number): Box {
  const corners = [-0.5, width - 0.5].flatMap((x) =>
    [-0.5, height - 0.5].map((y) => transform(matrix, [x, y])),
  );
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  const [left, top] = [Math.floor(Math.min(...xs)), Math.floor(Math.min(...ys))];
  return [left, top, Math.ceil(Math.max(...xs)) + 1, Math.ceil(Math.max(...ys)) + 1];
}
