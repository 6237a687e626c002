// Overlapping tiles that are blended without seams (elir_edge/runtime/tiling.py).
#pragma once

#include <functional>
#include <vector>

namespace elir {

// The tiles along one axis, in input pixels. At every pixel the weights of all tiles add up to 1.
struct TileAxis {
  std::vector<int> starts;                  // ascending, evenly spread; the last ends at the end
  std::vector<std::vector<float>> weights;  // per tile
};

// Covers `length >= tile` pixels by tiles that share at least `overlap`; neighbours are cross-faded
// linearly over all pixels that they share.
TileAxis plan_axis(int length, int tile, int overlap);

// Runs every tile and hands out finished rows from top to bottom. One row of tiles is held at a
// time: memory grows with the width, not with the height.
//   scale: output pixels per input pixel
//   run_tile: (top, left) in input pixels to (tile * scale) ^ 2 * 3 floats
//   emit: (row, values) for each finished output row, of width * scale * 3 floats
void blend_tiles(const TileAxis& rows, const TileAxis& columns, int width, int scale,
                 const std::function<std::vector<float>(int, int)>& run_tile,
                 const std::function<void(int, const float*)>& emit);

}  // namespace elir
