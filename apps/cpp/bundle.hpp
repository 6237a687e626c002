// A bundle on disk: what its manifest says, and whether its files are those that were exported.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace elir {

struct TensorSpec {
  std::string name, dtype, layout;  // layout: order of the axes, e.g. NCHW
  std::vector<std::int64_t> shape;
  double low = 0, high = 1;  // values of black and white

  std::int64_t side(char axis) const { return shape[layout.find(axis)]; }
  std::size_t count() const;
};

struct Bundle {
  std::string task;
  double sigma_s = 0;
  std::filesystem::path artifact;  // the file that ONNX Runtime loads
  TensorSpec input, output;
  std::optional<TensorSpec> noise;
  bool tiled = true;  // else one resize of the whole picture
  int overlap = 0;    // pixels that neighbouring tiles share, at the graph's resolution
  int upscale = 1;
  bool bicubic = false;  // how an image is enlarged before the network; else nearest
};

// Reads a bundle and checks every file's hash; throws Error.
Bundle open_bundle(const std::filesystem::path& folder);

}  // namespace elir
