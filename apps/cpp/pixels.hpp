// Samples and floats, and resampling as Pillow does it (elir_edge/runtime/arrays.py).
#pragma once

#include <cstdint>
#include <vector>

#include "elir.hpp"

namespace elir {

// Red, green, blue; values in [0, 1], row by row, channels last.
struct FloatImage {
  int width = 0, height = 0;
  std::vector<float> values;  // height * width * 3

  FloatImage(int width_, int height_)
      : width(width_),
        height(height_),
        values(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3) {}
  float* at(int y, int x) {
    return values.data() + (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                            static_cast<std::size_t>(x)) *
                               3;
  }
  const float* at(int y, int x) const { return const_cast<FloatImage*>(this)->at(y, x); }
};

// The place of pixel `i` in `length` pixels that go on mirrored without end.
int mirrored(int i, int length);

// The part [top, top + height) x [left, left + width) of an image that goes on mirrored at the
// bottom and the right; gray is repeated into three channels.
FloatImage region_of(const Image& image, int top, int left, int height, int width);

// Writes float pixels into row `y` of an image, rounded; gray gets their luminance.
void put_row(const float* values, int width, int y, Image& image);

// Pillow's `resize` of floats, then cut off to [0, 1].
FloatImage resize(const FloatImage& image, int height, int width, bool bicubic);

// Pillow's bicubic `resize` of one channel: in whole numbers where `maximum` is 255.
std::vector<std::uint16_t> resize_channel(const std::vector<std::uint16_t>& channel, int width,
                                          int height, int new_width, int new_height, int maximum);

}  // namespace elir
