/** Boxes that networks propose, and which are kept (`elir_edge/runtime/faces/finder.py`). */

/** Left, top, right, bottom in pixels, and how sure a network is of a face there. */
export type ScoredBox = readonly [number, number, number, number, number];

/** Return the indices of boxes that no stronger one overlaps by more than `overlap`. */
export function strongest(boxes: readonly ScoredBox[], overlap: number): number[] {
  const areas = boxes.map(([left, top, right, bottom]) => (right - left) * (bottom - top));
  let order = boxes.map((_, i) => i).sort((i, k) => boxes[k][4] - boxes[i][4]);
  const kept: number[] = [];
  while (order.length > 0) {
    const [best, ...rest] = order;
    kept.push(best);
    order = rest.filter((i) => {
      const shared = sharedArea(boxes[best], boxes[i]);
      return shared <= overlap * (areas[best] + areas[i] - shared);
    });
  }
  return kept;
}

function sharedArea(first: ScoredBox, second: ScoredBox): number {
  const width = Math.min(first[2], second[2]) - Math.max(first[0], second[0]);
  const height = Math.min(first[3], second[3]) - Math.max(first[1], second[1]);
  return Math.max(0, width) * Math.max(0, height);
}

/** Return a box with its corners moved by shares of its sides. */
export function moved(box: ScoredBox, offsets: ArrayLike<number>): ScoredBox {
  const [left, top, right, bottom, score] = box;
  const [width, height] = [right - left, bottom - top];
  return [
    left + offsets[0] * width,
    top + offsets[1] * height,
    right + offsets[2] * width,
    bottom + offsets[3] * height,
    score,
  ];
}

/** Return the square of the longer side about the same centre. */
export function square([left, top, right, bottom, score]: ScoredBox): ScoredBox {
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const half = Math.max(right - left, bottom - top) / 2;
  return [x - half, y - half, x + half, y + half, score];
}
