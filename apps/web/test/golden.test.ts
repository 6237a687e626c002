/** The same numbers as Python's runtime (`tests/apps/make_web_golden.py` records them). */

import { describe, expect, test } from "vitest";

import { fitAndRun, tileCount, type Fitting } from "../src/fitting";
import { type ByteImage, type FloatImage, padTo, regionAsFloat } from "../src/pixels";
import { estimateNoise, shareMissing } from "../src/remarks";
import { resize } from "../src/resample";
import { planAxis } from "../src/tiling";
import golden from "./golden.json";
import { bytesOf, network, picture, rgbaOf } from "./stubs";

/** Of values in [0, 1]: a few roundings of float32, and the record's seven digits. */
const TOLERANCE = 1e-6;

function largest(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  let most = 0;
  for (let i = 0; i < found.length; i++) most = Math.max(most, Math.abs(found[i] - expected[i]));
  return most;
}

describe("tiles along an axis", () => {
  test.each(golden.axes)("$length by $tile, $overlap shared", (axis) => {
    const { starts, weights } = planAxis(axis.length, axis.tile, axis.overlap);
    expect(starts).toEqual(axis.starts);
    weights.forEach((ramp, i) => expect(largest(ramp, axis.weights[i])).toBeLessThan(TOLERANCE));
  });

  test("a wrong overlap is noticed", () => {
    const [, , axis] = golden.axes;
    const { weights } = planAxis(axis.length, axis.tile, axis.overlap + 20);
    expect(largest(weights[0], axis.weights[0])).toBeGreaterThan(TOLERANCE);
  });
});

describe("resampling", () => {
  const small = regionAsFloat(picture(5, 7, 3), 0, 0, 5, 7);

  test.each(golden.sizes)("$method to $height x $width", ({ height, width, method, values }) => {
    const sized = resize(small, height, width, method as "nearest" | "bicubic");
    expect(largest(sized.data, values)).toBeLessThan(TOLERANCE);
  });

  test("another filter is noticed", () => {
    const [{ height, width, values }] = golden.sizes;
    expect(largest(resize(small, height, width, "nearest").data, values)).toBeGreaterThan(0.01);
  });
});

test("mirroring beyond the picture's own size", () => {
  expect([...padTo(picture(3, 2, 3), 7).data]).toEqual(golden.padded);
});

describe("pictures of any size", () => {
  async function restored(fit: (typeof golden.fits)[number], run = network): Promise<Uint8Array> {
    const fitting: Fitting = {
      size: fit.size,
      whole: true,
      processing: {
        fit: fit.fit as "tile" | "resize",
        overlap: fit.overlap,
        upscale: fit.upscale,
        upscaleFilter: fit.filter as "nearest" | "bicubic",
      },
    };
    const whole = picture(fit.height, fit.width, 3);
    const image: ByteImage = fit.gray
      ? { ...whole, channels: 1, data: whole.data.filter((_, i) => i % 3 === 0) }
      : whole;
    const rows: number[] = [];
    const counts: [number, number][] = [];
    await fitAndRun(fitting, image, run, {
      emit: (top, band) => {
        expect(top * band.width * band.channels).toBe(rows.length);
        rows.push(...band.data);
      },
      progress: (done, total) => counts.push([done, total]),
    });
    const total = tileCount(fitting, fit.width, fit.height);
    expect(counts.at(-1)).toEqual([total, total]);
    return Uint8Array.from(rows);
  }

  test.each(golden.fits)("$height x $width, $fit, x$upscale, gray: $gray", async (fit) =>
    expect(largest(await restored(fit), bytesOf(fit.bytes))).toBeLessThanOrEqual(1),
  );

  test("few bytes are rounded otherwise", async () => {
    let [different, all] = [0, 0];
    for (const fit of golden.fits) {
      const found = await restored(fit);
      const expected = bytesOf(fit.bytes);
      different += found.filter((value, i) => value !== expected[i]).length;
      all += found.length;
    }
    expect(different / all).toBeLessThan(0.001);
  });

  test("another network is noticed", async () => {
    const brighter = async (image: FloatImage, key: number): Promise<FloatImage> =>
      network(image, key + 1);
    const [fit] = golden.fits;
    expect(largest(await restored(fit, brighter), bytesOf(fit.bytes))).toBeGreaterThan(1);
  });
});

describe("what a photo looks like", () => {
  test.each(golden.noise)("noise of $height x $width", ({ height, width, sigma }) => {
    expect(estimateNoise(rgbaOf(picture(height, width, 3)))).toBeCloseTo(sigma, 3);
  });

  test("share of black pixels", () => {
    const image = picture(30, 30, 3);
    const dark = { ...image, data: image.data.map((value) => (value < 90 ? 0 : value)) };
    expect(shareMissing(rgbaOf(dark))).toBeCloseTo(golden.missing, 6);
    expect(shareMissing(rgbaOf(image))).not.toBeCloseTo(golden.missing, 6);
  });
});
