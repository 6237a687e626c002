// Restores images with a bundle of elir-edge. No main, no file formats, no terminal: an application
// (or a JNI layer) brings pixels and takes pixels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace elir {

// A failure that its reader can act on: one line of "what; got; expected; fix:".
class Error : public std::runtime_error {
 public:
  static constexpr int kFailure = 1, kUsage = 2;
  explicit Error(const std::string& line, int exit_code = kFailure)
      : std::runtime_error(line), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// The progress callback asked to stop.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

// An upright image. Samples lie row by row, channels last.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;                    // 1 (gray) or 3 (red, green, blue)
  int maximum = 255;                   // white: 255 or 65535
  std::vector<std::uint16_t> samples;  // height * width * channels, each 0 to `maximum`
  std::vector<std::uint16_t> alpha;    // height * width, or empty: opaque
};

struct Options {
  int threads = 0;         // of the runtime; 0: its default
  std::uint64_t seed = 0;  // of the noise, where the bundle takes it as an input
  bool whole = false;      // squeeze pictures far from square where the model is for aligned faces
};

// Called with tiles done and tiles in all, from 0; false stops the work.
using Progress = std::function<bool(int done, int total)>;

// A loaded bundle. Not for use by several threads at once.
class Restorer {
 public:
  // Checks the manifest and every file's hash, then loads the model into ONNX Runtime.
  // Throws Error: no bundle, or one that is incomplete, altered, or not for ONNX Runtime.
  explicit Restorer(const std::filesystem::path& bundle, const Options& options = {});
  ~Restorer();
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  // The task of the model, e.g. "denoising".
  const std::string& task() const;
  // Side of the graph's square input, in pixels.
  int size() const;
  // Output pixels per input pixel, along each axis.
  int upscale() const;
  // Name and version of the runtime.
  std::string runtime() const;

  // Restores an image of any size: the same channels and depth, `upscale` times as large.
  // `missing` has height * width values and is for `inpainting` alone: what is not zero is filled
  // in, all else stays. Without it, that task fills in pixels that are wholly transparent.
  // Throws Error for an image or mask that cannot be restored, Cancelled when `progress` says so.
  Image restore(const Image& image, const std::vector<std::uint8_t>* missing = nullptr,
                const Progress& progress = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace elir
