/**
 * Where the five points of an aligned face lie, and what of it is pasted back
 * (`elir_edge/runtime/faces/template.py`).
 */

import type { Point } from "./geometry";

/** Side of an aligned face, in pixels. */
export const SIDE = 512;

/**
 * Eyes, nose and corners of the mouth: the mean of FFHQ's faces, as facexlib and the restorers
 * built on it (GFPGAN, CodeFormer) have it.
 */
export const TEMPLATE: readonly Point[] = [
  [192.98138, 239.94708],
  [318.90277, 240.1936],
  [256.63416, 314.01935],
  [201.26117, 371.41043],
  [313.08905, 371.15118],
];

const CENTRE = [256, 275];
const AXES = [215, 245];
/** Share of the ellipse's radius within which the mask is 1. */
const SOLID = 0.75;

/**
 * Return how much of an aligned face is pasted back at a point of it: 0 to 1.
 *
 * An ellipse about the face that fades out smoothly: at its rim both value and slope are 0.
 */
export function maskAt(x: number, y: number): number {
  const radius = Math.hypot((x - CENTRE[0]) / AXES[0], (y - CENTRE[1]) / AXES[1]);
  const fade = Math.min(1, Math.max(0, (1 - radius) / (1 - SOLID)));
  return Math.fround(fade * fade * (3 - 2 * fade));
}
