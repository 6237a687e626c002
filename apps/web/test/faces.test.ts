/** Faces: geometry by hand, and the same numbers as Python's (`elir_edge/runtime/faces`). */

import { describe, expect, test } from "vitest";

import { moved, type ScoredBox, square, strongest } from "../src/faces/boxes";
import {
  asInput,
  cut,
  type Face,
  FaceFinder,
  lookOf,
  tiltOf,
  turnedBack,
} from "../src/faces/finder";
import {
  boxOf,
  chain,
  enlarged,
  fitSimilarity,
  invert,
  type Matrix,
  type Point,
  scaleOf,
  transform,
  turnAbout,
} from "../src/faces/geometry";
import { remarkOnFaces, restoreFaces } from "../src/faces/restore";
import { maskAt, TEMPLATE } from "../src/faces/template";
import { warp } from "../src/faces/warp";
import { cropBytes, type Picture, reduceBytes, resizeBytes, turned } from "../src/picture";
import type { Rgba } from "../src/restore";
import golden from "./golden.json";
import { bytesOf, discs, network, picture, rgbaOf, stubs } from "./stubs";

const { faces } = golden;
/** Of coordinates, computed in float64: the networks' values are float32 in Python's mean. */
const PIXELS = 1e-4;
/** Of values in [0, 1]: a few roundings of float32, and the record's seven digits. */
const VALUES = 1e-6;

function largest(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  let most = 0;
  for (let i = 0; i < found.length; i++) most = Math.max(most, Math.abs(found[i] - expected[i]));
  return most;
}

const matrixOf = (values: number[]): Matrix => values as unknown as Matrix;

describe("transforms, by hand", () => {
  const quarter: Matrix = [0, -2, 10, 2, 0, 20]; // a quarter clockwise, twice as large

  test("a point there and back", () => {
    expect(transform(quarter, [3, 4])).toEqual([2, 26]);
    expect(transform(invert(quarter), [2, 26])).toEqual([3, 4]);
    expect(scaleOf(quarter)).toBe(2);
  });

  test("one after the other", () => {
    const shift: Matrix = [1, 0, 5, 0, 1, -6];
    expect(transform(chain(quarter, shift), [3, 4])).toEqual([7, 20]);
    expect(transform(chain(shift, quarter), [3, 4])).toEqual([14, 36]);
  });

  test("four points of a square, turned, are found again", () => {
    const corners: Point[] = [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
    ];
    const found = fitSimilarity(
      corners,
      corners.map((point) => transform(quarter, point)),
    );
    expect(largest(found, quarter)).toBeLessThan(1e-12);
  });

  test("a point becomes the middle; the x axis turns towards the y axis", () => {
    const matrix = turnAbout([10, 20], 90, 2, 101);
    expect(largest(transform(matrix, [10, 20]), [50, 50])).toBeLessThan(1e-9);
    expect(largest(transform(matrix, [11, 20]), [50, 52])).toBeLessThan(1e-9);
  });

  test("the first pixel's centre, four times as large, and boxes of whole pixels", () => {
    const same: Matrix = [1, 0, 0, 0, 1, 0];
    expect(transform(enlarged(same, 4), [0, 0])).toEqual([1.5, 1.5]);
    expect(boxOf(same, 10, 20)).toEqual([-1, -1, 11, 21]);
  });

  test("the template is upright, and tilts by what it is turned", () => {
    expect(tiltOf(TEMPLATE)).toBeCloseTo(0, 9);
    const points = TEMPLATE.map((point) => transform(turnAbout([9, 9], 37, 0.3, 48), point));
    expect(tiltOf(points)).toBeCloseTo(37, 9);
  });

  test("places in a turned picture", () => {
    const size = { width: 100, height: 60 };
    const face = { box: [10, 20, 30, 40] as const, points: [[0, 0] as Point] };
    // Counterclockwise by a quarter: x was the distance from the top.
    expect(turnedBack(face, 1, size)).toEqual({ box: [60, 10, 80, 30], points: [[99, 0]] });
    expect(turnedBack(face, 2, size)).toEqual({ box: [70, 20, 90, 40], points: [[99, 59]] });
    expect(turnedBack(face, 3, size)).toEqual({ box: [20, 30, 40, 50], points: [[0, 59]] });
  });
});

describe("transforms, as in Python", () => {
  test.each(faces.transforms)("box $box", (each) => {
    const matrix = matrixOf(each.matrix);
    const turn = turnAbout([matrix[2], matrix[5]], 33, 0.7, 48);
    expect(largest(invert(matrix), each.inverse)).toBeLessThan(1e-12);
    expect(largest(turn, each.turn)).toBeLessThan(1e-12);
    expect(largest(chain(matrix, turn), each.chained)).toBeLessThan(1e-12);
    expect(largest(enlarged(matrix, 4), each.enlarged)).toBeLessThan(1e-12);
    expect(scaleOf(matrix)).toBeCloseTo(each.scale, 12);
    expect(boxOf(matrix, 20, 30)).toEqual(each.box);
  });

  test.each(faces.similarities)("tilt $tilt", ({ points, matrix, tilt }) => {
    const found = fitSimilarity(points as unknown as Point[], TEMPLATE);
    expect(largest(found, matrix)).toBeLessThan(1e-9);
    expect(tiltOf(points as unknown as Point[])).toBeCloseTo(tilt, 9);
    // The twin: eyes exchanged.
    const [one, other, ...rest] = points as unknown as Point[];
    expect(largest(fitSimilarity([other, one, ...rest], TEMPLATE), matrix)).toBeGreaterThan(1e-3);
  });
});

test("the mask: whole in the middle, half on the way, nothing at the rim", () => {
  const places = [
    [256, 275],
    [256, 40],
    [256, 60],
    [80, 275],
    [400.5, 400.25],
    [0, 0],
  ];
  const values = places.map(([x, y]) => maskAt(x, y));
  expect(largest(values, faces.mask)).toBeLessThan(VALUES);
  expect(maskAt(256 + 215 * 0.875, 275)).toBeCloseTo(0.5, 6);
  expect([maskAt(256, 275), maskAt(256 + 215, 275)]).toEqual([1, 0]);
});

describe("boxes", () => {
  const scored = faces.boxes.scored as unknown as ScoredBox[];

  test("by hand", () => {
    const boxes: ScoredBox[] = [
      [0, 0, 4, 4, 0.5],
      [1, 0, 5, 4, 0.9],
      [4, 4, 8, 8, 0.9],
    ];
    // The first shares 12 of 20 pixels with the second.
    expect(strongest(boxes, 0.59)).toEqual([1, 2]);
    expect(strongest(boxes, 0.61)).toEqual([1, 2, 0]);
    expect(moved([0, 0, 10, 20, 1], [0.1, 0.2, -0.1, 0.05])).toEqual([1, 4, 9, 21, 1]);
    expect(square([0, 0, 10, 20, 1])).toEqual([-5, 0, 15, 20, 1]);
  });

  test("as in Python", () => {
    expect([0.1, 0.3, 0.7].map((overlap) => strongest(scored, overlap))).toEqual(
      faces.boxes.strongest,
    );
    scored.forEach((box, i) => {
      const found = square(moved(box, faces.boxes.offsets[i]));
      expect(largest(found, faces.boxes.moved[i])).toBeLessThan(1e-9);
    });
    expect(strongest(scored, 0.2)).not.toEqual(faces.boxes.strongest[1]);
  });
});

describe("bytes, as in Pillow", () => {
  const small: Picture = picture(31, 23, 3);

  test.each(faces.resized)("$filter to $width x $height", ({ width, height, filter, bytes }) => {
    const sized = resizeBytes(small, width, height, filter as "box" | "bilinear");
    expect(sized.data).toEqual(bytesOf(bytes));
  });

  test.each(faces.reduced)("means of squares of $factor", ({ factor, bytes }) => {
    expect(reduceBytes(small, factor).data).toEqual(bytesOf(bytes));
    expect(reduceBytes(small, factor + 1).data).not.toEqual(bytesOf(bytes));
  });

  test.each(faces.cut.map((bytes, i) => ({ bytes, i })))("cut by matrix $i", ({ bytes, i }) => {
    const matrix = matrixOf(faces.transforms[i].matrix);
    expect(cut(small, matrix, 12).data).toEqual(bytesOf(bytes));
    const beside: Matrix = [...matrix.slice(0, 5), matrix[5] + 0.25] as unknown as Matrix;
    expect(cut(small, beside, 12).data).not.toEqual(bytesOf(bytes));
  });

  test("beyond the picture is black", () => {
    const part = cropBytes({ width: 1, height: 1, data: Uint8Array.of(1, 2, 3) }, [-1, 0, 1, 2]);
    expect([...part.data]).toEqual([0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0]);
    expect(cropBytes(small, [50, 50, 52, 52]).data).toEqual(new Uint8Array(12));
  });

  test("quarters of a turn", () => {
    const pixel = (value: number): number[] => [value, value, value];
    const row = Uint8Array.from([1, 2, 3].flatMap(pixel));
    const line: Picture = { width: 3, height: 1, data: row };
    expect(turned(line, 1)).toMatchObject({ width: 1, height: 3 });
    expect([...turned(line, 1).data]).toEqual([3, 2, 1].flatMap(pixel));
    expect([...turned(line, 2).data]).toEqual([3, 2, 1].flatMap(pixel));
    expect([...turned(line, 3).data]).toEqual([1, 2, 3].flatMap(pixel));
    const twice = turned(turned(small, 1), 1);
    expect(twice.data).toEqual(turned(small, 2).data);
    expect(turned(twice, 2).data).toEqual(small.data);
  });

  test("as the networks take them: columns first, 127.5 is 0", () => {
    const two: Picture = { width: 1, height: 2, data: Uint8Array.of(0, 255, 0, 191, 0, 0) };
    expect([...asInput(two.data, 1, 2)]).toEqual(
      [0, 255, 0, 191, 0, 0].map((value) => (value - 127.5) / 128),
    );
    const wide = asInput(Uint8Array.of(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4), 2, 2);
    expect([...wide].filter((_, i) => i % 3 === 0).map((v) => v * 128 + 127.5)).toEqual([
      1, 3, 2, 4,
    ]);
  });
});

test.each(faces.warped.map((values, i) => ({ values, i })))(
  "warped by matrix $i",
  ({ values, i }) => {
    const matrix = matrixOf(faces.transforms[i].matrix);
    expect(largest(warp(picture(31, 23, 3), matrix, 10, 8).data, values)).toBeLessThan(VALUES);
    const beside: Matrix = [...matrix.slice(0, 5), matrix[5] + 0.25] as unknown as Matrix;
    expect(largest(warp(picture(31, 23, 3), beside, 10, 8).data, values)).toBeGreaterThan(0.01);
  },
);

describe("the cascade, its networks being stubs", () => {
  const places = (found: Face[]): number[] =>
    found.flatMap(({ box, points, score }) => [...box, ...points.flat(), score]);
  const expected = places(faces.found as unknown as Face[]);

  test("finds what Python's finds", async () => {
    const turns: number[] = [];
    const finder = new FaceFinder(...stubs);
    const found = await finder.find(discs(180, 220), (done, total) => turns.push(done / total));
    expect(found.length).toBe(2);
    expect(largest(places(found), expected)).toBeLessThan(PIXELS);
    expect(turns).toEqual([0.25, 0.5, 0.75, 1]);
  });

  test("another network is noticed", async () => {
    const [first, second, third] = stubs;
    const other = {
      run: async (data: Float32Array, shape: number[]) => {
        const outputs = await third.run(data, shape);
        const points = outputs.dense_6.data.map((value, i) => value + (i % 10 === 0 ? 0.01 : 0));
        return { ...outputs, dense_6: { ...outputs.dense_6, data: points } };
      },
    };
    const found = await new FaceFinder(first, second, other).find(discs(180, 220));
    expect(largest(places(found.slice(0, 1)), expected.slice(0, 15))).toBeGreaterThan(PIXELS);
  });

  test("there is nothing to find in what is smaller than a face", async () => {
    const tiny: Picture = { width: 500, height: 11, data: new Uint8Array(3 * 500 * 11) };
    expect(await new FaceFinder(...stubs).find(tiny)).toEqual([]);
  });

  test("looks are shifted and scaled about the middle", () => {
    const square: Matrix = lookOf([0, 0, 1]);
    expect(largest(transform(square, [95.5, 95.5]), [23.5, 23.5])).toBeLessThan(1e-9);
    expect(largest(transform(lookOf([0.5, 0, 2]), [143.5, 95.5]), [23.5, 23.5])).toBeLessThan(1e-9);
    expect(scaleOf(lookOf([0, 0, 2]))).toBeCloseTo(0.25, 12);
  });
});

describe("pasting back", () => {
  const at = (side: number, points: Point[]): Face => ({
    box: [0, 0, side, side],
    points,
    score: 1,
  });
  const known = [
    at(
      40,
      TEMPLATE.map(([x, y]): Point => [x / 9.17 + 3.23, y / 9.17 - 6.31]),
    ),
    at(
      33,
      TEMPLATE.map(([x, y]): Point => [x / 16.29 + 40.37, y / 16.29 + 22.41]),
    ),
    at(
      31,
      TEMPLATE.map(([x, y]): Point => [x / 10, y / 10]),
    ),
  ];

  async function pasted(
    image: Rgba,
    factor: number,
    found: Face[] = known,
  ): Promise<{ image: Rgba; steps: number[][]; outcome: object }> {
    const [width, height] = [image.width * factor, image.height * factor];
    const whole: Rgba = { width, height, data: new Uint8ClampedArray(4 * width * height) };
    const background = {
      scale: factor,
      restore: async (emit: (top: number, band: Rgba) => void) => {
        for (let y = 0; y < height; y++) {
          const row = new Uint8ClampedArray(4 * width);
          for (let x = 0; x < width; x++) {
            const from = 4 * (Math.floor(y / factor) * image.width + Math.floor(x / factor));
            row.set(image.data.subarray(from, from + 4), 4 * x);
          }
          emit(y, { width, height: 1, data: row });
        }
      },
    };
    const steps: number[][] = [];
    const outcome = await restoreFaces(
      image,
      { find: async () => found, restore: (aligned) => network(aligned, 1) },
      factor === 1 ? null : background,
      (left, top, part) => {
        for (let y = 0; y < part.height; y++) {
          const row = part.data.subarray(4 * y * part.width, 4 * (y + 1) * part.width);
          whole.data.set(row, 4 * ((top + y) * width + left));
        }
      },
      (done, total) => steps.push([done, total]),
    );
    return { image: whole, steps, outcome };
  }

  /** Return every `factor`-th pixel's colours, as the record has them. */
  function shown({ width, height, data }: Rgba, gray: boolean, factor: number): number[] {
    const values: number[] = [];
    for (let y = 0; y < height; y += factor) {
      for (let x = 0; x < width; x += factor) {
        for (let c = 0; c < (gray ? 1 : 3); c++) values.push(data[4 * (y * width + x) + c]);
      }
    }
    return values;
  }

  test.each(faces.pasted)("gray: $gray, background x$factor", async ({ gray, factor, bytes }) => {
    const image = rgbaOf(picture(60, 80, 3), gray ? 1 : 3);
    const result = await pasted(image, factor);
    const [found, expected] = [shown(result.image, gray, factor), bytesOf(bytes)];
    // Of bytes: a value on the edge between two may be rounded otherwise.
    expect(largest(found, expected)).toBeLessThanOrEqual(1);
    expect(found.filter((value, i) => value !== expected[i]).length).toBeLessThan(
      found.length / 1000,
    );
    expect(result.steps).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
    ]);
    expect(result.outcome).toEqual({ restored: 2, skipped: 1, large: 0 });
    // The twin: the smaller face on top.
    const [first, second, third] = known;
    const other = await pasted(image, factor, [second, first, third]);
    expect(largest(shown(other.image, gray, factor), expected)).toBeGreaterThan(1);
  });

  test("a photo without a face stays as it is, transparency too", async () => {
    const image = rgbaOf(picture(60, 80, 3));
    image.data[3] = 77;
    const result = await pasted(image, 1, []);
    expect(result.image.data).toEqual(image.data);
    expect(result.outcome).toEqual({ restored: 0, skipped: 0, large: 0 });
  });

  test("what was not restored is said", () => {
    expect(remarkOnFaces({ restored: 1, skipped: 0, large: 0 })).toBeNull();
    expect(remarkOnFaces({ restored: 0, skipped: 0, large: 0 })).toBe(
      "No face to restore was found.",
    );
    expect(remarkOnFaces({ restored: 3, skipped: 2, large: 1 })).toBe(
      "Faces smaller than 32 pixels are left as they are (2); " +
        "faces larger than the model’s 512 pixels lose detail (1).",
    );
  });
});
