/** The draw of N(0, 1) for bundles whose noise is an input. */

/**
 * Return seeded normal values: the same seed and key, the same draw.
 *
 * Not the draw of the Python runtime, whose generator this is not: a result differs from Python's
 * as that of another seed does.
 */
export function drawNormal(count: number, seed: number, key: number): Float32Array {
  const uniform = mulberry32((seed ^ Math.imul(key + 1, 0x9e3779b1)) >>> 0);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    // Box and Muller 1958; 1 - u lies in (0, 1], whose logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** Tommy Ettinger's generator of 32 bits: uniform in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
