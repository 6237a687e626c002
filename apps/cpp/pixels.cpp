#include "pixels.hpp"

#include <algorithm>
#include <cmath>

namespace elir {
namespace {

// The input pixels that one output pixel is a weighted sum of.
struct Taps {
  int first;
  std::vector<double> weights;
};

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// Weights of Pillow's resampling (Resample.c, `precompute_coeffs`): the kernel is widened where the
// image is reduced, and normalized.
std::vector<Taps> plan_taps(int length, int new_length) {
  const double scale = static_cast<double>(length) / new_length;
  const double widened = std::max(scale, 1.0);
  const double reach = 2.0 * widened;
  std::vector<Taps> plan;
  for (int i = 0; i < new_length; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - reach + 0.5));
    const int end = std::min(length, static_cast<int>(center + reach + 0.5));
    Taps taps{first, {}};
    double total = 0;
    for (int k = first; k < end; ++k) {
      taps.weights.push_back(bicubic((k - center + 0.5) * (1.0 / widened)));
      total += taps.weights.back();
    }
    if (total != 0) {
      for (double& weight : taps.weights) weight /= total;
    }
    plan.push_back(std::move(taps));
  }
  return plan;
}

// Resamples one axis: `lines` runs of `length` pixels; `pixel` and `line` are strides.
struct Axis {
  int lines, length, new_length;
  std::size_t pixel, line, new_pixel, new_line;
};

void resample_floats(const std::vector<float>& from, std::vector<float>& to, const Axis& axis,
                     int channels) {
  const std::vector<Taps> plan = plan_taps(axis.length, axis.new_length);
  for (int l = 0; l < axis.lines; ++l) {
    for (int i = 0; i < axis.new_length; ++i) {
      const Taps& taps = plan[static_cast<std::size_t>(i)];
      for (int c = 0; c < channels; ++c) {
        double sum = 0;
        for (std::size_t k = 0; k < taps.weights.size(); ++k) {
          const std::size_t at = static_cast<std::size_t>(l) * axis.line +
                                 (static_cast<std::size_t>(taps.first) + k) * axis.pixel;
          sum += static_cast<double>(from[at + static_cast<std::size_t>(c)]) * taps.weights[k];
        }
        to[static_cast<std::size_t>(l) * axis.new_line +
           static_cast<std::size_t>(i) * axis.new_pixel + static_cast<std::size_t>(c)] =
            static_cast<float>(sum);
      }
    }
  }
}

void resample_bytes(const std::vector<std::uint16_t>& from, std::vector<std::uint16_t>& to,
                    const Axis& axis) {
  constexpr int kBits = 22;  // of the fraction, as in Pillow
  const std::vector<Taps> plan = plan_taps(axis.length, axis.new_length);
  for (int l = 0; l < axis.lines; ++l) {
    for (int i = 0; i < axis.new_length; ++i) {
      const Taps& taps = plan[static_cast<std::size_t>(i)];
      int sum = 1 << (kBits - 1);
      for (std::size_t k = 0; k < taps.weights.size(); ++k) {
        const double weight = taps.weights[k];
        const int fixed = static_cast<int>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kBits));
        sum += from[static_cast<std::size_t>(l) * axis.line +
                    (static_cast<std::size_t>(taps.first) + k) * axis.pixel] *
               fixed;
      }
      to[static_cast<std::size_t>(l) * axis.new_line +
         static_cast<std::size_t>(i) * axis.new_pixel] =
          static_cast<std::uint16_t>(std::clamp(sum >> kBits, 0, 255));
    }
  }
}

Axis across(int width, int height, int new_width, std::size_t channels) {
  const auto w = static_cast<std::size_t>(width), n = static_cast<std::size_t>(new_width);
  return {height, width, new_width, channels, w * channels, channels, n * channels};
}

Axis down(int width, int height, int new_height, std::size_t channels) {
  const std::size_t row = static_cast<std::size_t>(width) * channels;
  return {width, height, new_height, row, channels, row, channels};
}

FloatImage bicubic_resize(const FloatImage& image, int height, int width) {
  FloatImage wide(width, image.height);
  if (width == image.width) {
    wide.values = image.values;
  } else {
    resample_floats(image.values, wide.values, across(image.width, image.height, width, 3), 3);
  }
  if (height == image.height) return wide;
  FloatImage resized(width, height);
  resample_floats(wide.values, resized.values, down(width, image.height, height, 3), 3);
  return resized;
}

}  // namespace

int mirrored(int i, int length) {
  const int place = i % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
}

FloatImage region_of(const Image& image, int top, int left, int height, int width) {
  FloatImage region(width, height);
  const auto white = static_cast<float>(image.maximum);
  for (int y = 0; y < height; ++y) {
    const auto row = static_cast<std::size_t>(mirrored(top + y, image.height)) *
                     static_cast<std::size_t>(image.width);
    for (int x = 0; x < width; ++x) {
      const std::size_t from = (row + static_cast<std::size_t>(mirrored(left + x, image.width))) *
                               static_cast<std::size_t>(image.channels);
      for (int c = 0; c < 3; ++c) {
        region.at(y, x)[c] =
            static_cast<float>(
                image.samples[from + static_cast<std::size_t>(image.channels == 1 ? 0 : c)]) /
            white;
      }
    }
  }
  return region;
}

void put_row(const float* values, int width, int y, Image& image) {
  const auto white = static_cast<float>(image.maximum);
  for (int x = 0; x < width; ++x) {
    const float* pixel = values + 3 * x;
    const float gray = pixel[0] * 0.299f + pixel[1] * 0.587f + pixel[2] * 0.114f;
    for (int c = 0; c < image.channels; ++c) {
      const float value = std::clamp(image.channels == 1 ? gray : pixel[c], 0.0f, 1.0f);
      const std::size_t at = (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                              static_cast<std::size_t>(x)) *
                                 static_cast<std::size_t>(image.channels) +
                             static_cast<std::size_t>(c);
      image.samples[at] = static_cast<std::uint16_t>(std::nearbyint(value * white));
    }
  }
}

FloatImage resize(const FloatImage& image, int height, int width, bool by_bicubic) {
  FloatImage resized(width, height);
  if (by_bicubic) {
    resized = bicubic_resize(image, height, width);
  } else {
    for (int y = 0; y < height; ++y) {
      const int from = static_cast<int>((y + 0.5) * image.height / height);
      for (int x = 0; x < width; ++x) {
        const float* pixel = image.at(from, static_cast<int>((x + 0.5) * image.width / width));
        std::copy(pixel, pixel + 3, resized.at(y, x));
      }
    }
  }
  for (float& value : resized.values) value = std::clamp(value, 0.0f, 1.0f);
  return resized;
}

std::vector<std::uint16_t> resize_channel(const std::vector<std::uint16_t>& channel, int width,
                                          int height, int new_width, int new_height, int maximum) {
  const auto size = [](int w, int h) {
    return static_cast<std::size_t>(w) * static_cast<std::size_t>(h);
  };
  const Axis first = across(width, height, new_width, 1);
  const Axis second = down(new_width, height, new_height, 1);
  if (maximum == 255) {
    std::vector<std::uint16_t> wide(size(new_width, height)), resized(size(new_width, new_height));
    resample_bytes(channel, wide, first);
    resample_bytes(wide, resized, second);
    return resized;
  }
  const auto white = static_cast<float>(maximum);
  std::vector<float> floats(channel.begin(), channel.end());
  for (float& value : floats) value /= white;
  std::vector<float> wide(size(new_width, height)), tall(size(new_width, new_height));
  resample_floats(floats, wide, first, 1);
  resample_floats(wide, tall, second, 1);
  std::vector<std::uint16_t> resized;
  resized.reserve(tall.size());
  for (const float value : tall) {
    resized.push_back(
        static_cast<std::uint16_t>(std::nearbyint(std::clamp(value, 0.0f, 1.0f) * white)));
  }
  return resized;
}

}  // namespace elir
