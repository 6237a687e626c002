#include "tiling.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace elir {

TileAxis plan_axis(int length, int tile, int overlap) {
  int count = 1;
  if (length > tile) {
    count = static_cast<int>(std::ceil(static_cast<double>(length - overlap) / (tile - overlap)));
    count = std::max(1, count);
  }
  TileAxis axis;
  for (int i = 0; i < count; ++i) {
    // Halves go to the even neighbour, as Python rounds.
    const double start =
        static_cast<double>(static_cast<long long>(i) * (length - tile)) / std::max(1, count - 1);
    axis.starts.push_back(static_cast<int>(std::nearbyint(start)));
  }
  std::vector<std::vector<double>> ramps;
  std::vector<double> total(static_cast<std::size_t>(length), 0.0);
  for (std::size_t i = 0; i < axis.starts.size(); ++i) {
    std::vector<double> ramp(static_cast<std::size_t>(tile), 1.0);
    if (i > 0) {
      const int shared = axis.starts[i - 1] + tile - axis.starts[i];
      for (int k = 0; k < shared; ++k) ramp[static_cast<std::size_t>(k)] = (k + 0.5) / shared;
    }
    if (i + 1 < axis.starts.size()) {
      const int shared = axis.starts[i] + tile - axis.starts[i + 1];
      for (int k = 0; k < shared; ++k) {
        ramp[static_cast<std::size_t>(tile - shared + k)] *= (shared - 1 - k + 0.5) / shared;
      }
    }
    for (std::size_t k = 0; k < ramp.size(); ++k) {
      total[static_cast<std::size_t>(axis.starts[i]) + k] += ramp[k];
    }
    ramps.push_back(std::move(ramp));
  }
  for (std::size_t i = 0; i < ramps.size(); ++i) {
    std::vector<float> weights;
    for (std::size_t k = 0; k < ramps[i].size(); ++k) {
      const double share = ramps[i][k] / total[static_cast<std::size_t>(axis.starts[i]) + k];
      weights.push_back(static_cast<float>(share));
    }
    axis.weights.push_back(std::move(weights));
  }
  return axis;
}

void blend_tiles(const TileAxis& rows, const TileAxis& columns, int width, int scale,
                 const std::function<std::vector<float>(int, int)>& run_tile,
                 const std::function<void(int, const float*)>& emit) {
  const int tile = static_cast<int>(rows.weights.front().size()) * scale;
  const std::size_t row_length =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(scale) * 3;
  // Where tiles overlap much, a thousand of them add up at a pixel: in float32 that shows.
  std::vector<double> band(static_cast<std::size_t>(tile) * row_length, 0.0);
  std::vector<float> row(row_length);
  for (std::size_t i = 0; i < rows.starts.size(); ++i) {
    for (std::size_t j = 0; j < columns.starts.size(); ++j) {
      const std::vector<float> values = run_tile(rows.starts[i], columns.starts[j]);
      const float* from = values.data();
      for (int y = 0; y < tile; ++y) {
        const float row_weight = rows.weights[i][static_cast<std::size_t>(y / scale)];
        double* to =
            band.data() + static_cast<std::size_t>(y) * row_length +
            static_cast<std::size_t>(columns.starts[j]) * static_cast<std::size_t>(scale) * 3;
        for (int x = 0; x < tile; ++x) {
          const float column_weight = columns.weights[j][static_cast<std::size_t>(x / scale)];
          for (int c = 0; c < 3; ++c) *to++ += *from++ * row_weight * column_weight;
        }
      }
    }
    const int top = rows.starts[i];
    const int finished = i + 1 < rows.starts.size() ? (rows.starts[i + 1] - top) * scale : tile;
    for (int y = 0; y < finished; ++y) {
      const auto begin =
          band.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(y) * row_length);
      std::transform(begin, begin + static_cast<std::ptrdiff_t>(row_length), row.begin(),
                     [](double value) { return static_cast<float>(value); });
      emit(top * scale + y, row.data());
    }
    const auto shift = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(finished) * row_length);
    std::move(band.begin() + shift, band.end(), band.begin());
    std::fill(band.end() - shift, band.end(), 0.0);
  }
}

}  // namespace elir
