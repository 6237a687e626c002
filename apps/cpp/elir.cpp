#include "elir.hpp"

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "bundle.hpp"
#include "pixels.hpp"
#include "tiling.hpp"

namespace elir {
namespace {

constexpr double kMaxOutputPixels = 536870912.0;
constexpr double kNearSquare = 1.25;
// Input pixels around a region that its enlargement may depend on.
constexpr int kFilterReach = 4;

std::string sides(int width, int height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

// A float as an element of the artifact's type, and back.
template <typename T>
struct Element {
  static T of(float value) {
    constexpr auto low = static_cast<float>(std::numeric_limits<T>::min());
    constexpr auto high = static_cast<float>(std::numeric_limits<T>::max());
    return static_cast<T>(std::clamp(std::nearbyint(value), low, high));
  }
  static float to_float(T value) { return static_cast<float>(value); }
};
template <>
struct Element<float> {
  static float of(float value) { return value; }
  static float to_float(float value) { return value; }
};
template <>
struct Element<Ort::Float16_t> {
  static Ort::Float16_t of(float value) { return Ort::Float16_t(value); }
  static float to_float(Ort::Float16_t value) { return value.ToFloat(); }
};

// Offsets of (y, x, channel) of a batch's image `n` in a tensor's layout.
struct Strides {
  std::int64_t n, c, h, w;
  explicit Strides(const TensorSpec& spec) {
    std::int64_t by_letter[128] = {}, stride = 1;
    for (std::size_t i = spec.layout.size(); i-- > 0;) {
      by_letter[static_cast<std::size_t>(spec.layout[i])] = stride;
      stride *= spec.shape[i];
    }
    n = by_letter['N'], c = by_letter['C'], h = by_letter['H'], w = by_letter['W'];
  }
  std::size_t at(std::int64_t image, std::int64_t y, std::int64_t x, std::int64_t channel) const {
    return static_cast<std::size_t>(image * n + channel * c + y * h + x * w);
  }
};

// A tensor that owns its memory.
struct Tensor {
  std::vector<unsigned char> bytes;
  Ort::Value value{nullptr};
};

template <typename T>
Tensor wrapped(const std::vector<T>& elements, const TensorSpec& spec) {
  Tensor tensor;
  tensor.bytes.resize(elements.size() * sizeof(T));
  std::copy_n(reinterpret_cast<const unsigned char*>(elements.data()), tensor.bytes.size(),
              tensor.bytes.data());
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  tensor.value = Ort::Value::CreateTensor<T>(memory, reinterpret_cast<T*>(tensor.bytes.data()),
                                             elements.size(), spec.shape.data(), spec.shape.size());
  return tensor;
}

template <typename T>
Tensor tensor_of(const FloatImage& image, const TensorSpec& spec) {
  std::vector<T> elements(spec.count());
  const Strides strides(spec);
  const auto span = static_cast<float>(spec.high - spec.low), low = static_cast<float>(spec.low);
  for (std::int64_t n = 0; n < spec.side('N'); ++n) {
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        for (int c = 0; c < 3; ++c) {
          elements[strides.at(n, y, x, c)] = Element<T>::of(image.at(y, x)[c] * span + low);
        }
      }
    }
  }
  return wrapped(elements, spec);
}

// The first image of a batch; throws where values are not finite.
template <typename T>
FloatImage image_of(const Ort::Value& value, const TensorSpec& spec) {
  const T* elements = value.GetTensorData<T>();
  const Strides strides(spec);
  const auto span = static_cast<float>(spec.high - spec.low), low = static_cast<float>(spec.low);
  const int size = static_cast<int>(spec.side('H'));
  FloatImage image(size, size);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      for (int c = 0; c < 3; ++c) {
        const float element = Element<T>::to_float(elements[strides.at(0, y, x, c)]);
        if (!std::isfinite(element)) {
          throw Error("the artifact's output " + spec.name +
                      " is unusable; got values that are not finite; fix: run `elir-edge verify` "
                      "on the bundle");
        }
        image.at(y, x)[c] = std::clamp((element - low) / span, 0.0f, 1.0f);
      }
    }
  }
  return image;
}

// Calls `act` with a value of the type that numpy's name stands for.
template <typename Act>
auto with_type(const TensorSpec& spec, const Act& act) {
  if (spec.dtype == "float32") return act(float{});
  if (spec.dtype == "float16") return act(Ort::Float16_t{});
  if (spec.dtype == "uint8") return act(std::uint8_t{});
  if (spec.dtype == "int8") return act(std::int8_t{});
  throw Error("tensor " + spec.name + " is of type " + spec.dtype +
              "; expected float32, float16, uint8 or int8; fix: export again");
}

ONNXTensorElementDataType type_of(const TensorSpec& spec) {
  return with_type(spec, [](auto zero) { return Ort::TypeToTensorType<decltype(zero)>::type; });
}

void check_image(const Image& image, int upscale) {
  const double pixels = static_cast<double>(image.width) * image.height;
  const bool whole = image.width > 0 && image.height > 0 &&
                     (image.channels == 1 || image.channels == 3) &&
                     (image.maximum == 255 || image.maximum == 65535) &&
                     static_cast<double>(image.samples.size()) == pixels * image.channels &&
                     (image.alpha.empty() || static_cast<double>(image.alpha.size()) == pixels);
  if (!whole) {
    throw Error("the input is not an image; got " + sides(image.width, image.height) +
                " pixels of " + std::to_string(image.channels) +
                " channels; expected 1 or 3 channels of 8 or 16 bits; fix: fill all fields of the "
                "image");
  }
  if (pixels * upscale * upscale > kMaxOutputPixels) {
    throw Error("the result would have " +
                std::to_string(static_cast<long>(pixels * upscale * upscale / 1e6)) +
                " megapixels; expected at most " +
                std::to_string(static_cast<long>(kMaxOutputPixels / 1e6)) +
                "; fix: restore parts of the image");
  }
}

Ort::Env quiet_environment() {
  // Nothing is reported to anyone; the wheels' library reads the variable when it starts.
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
  Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "elir");
  environment.DisableTelemetryEvents();
  return environment;
}

}  // namespace

struct Restorer::State {
  Bundle bundle;
  Options options;
  Ort::Env environment;
  Ort::Session session{nullptr};

  State(const std::filesystem::path& folder, const Options& options_)
      : bundle(open_bundle(folder)), options(options_), environment(quiet_environment()) {
    Ort::SessionOptions settings;
    if (options.threads > 0) settings.SetIntraOpNumThreads(options.threads);
    try {
      session = Ort::Session(environment, bundle.artifact.c_str(), settings);
    } catch (const Ort::Exception& error) {
      throw Error(
          "ONNX Runtime " + Ort::GetVersionString() + " refuses " +
          bundle.artifact.filename().string() + " (" + error.what() +
          "); fix: run `elir-edge verify` on the bundle; if it is intact, update onnxruntime");
    }
    type_of(bundle.input), type_of(bundle.output);  // refused here, not at the first tile
  }

  // Runs the graph once: (size, size) to (size, size); `key` picks the draw of the noise.
  FloatImage run(const FloatImage& image, int key) {
    std::vector<const char*> names = {bundle.input.name.c_str()};
    std::vector<Ort::Value> inputs;
    Tensor pixels = with_type(
        bundle.input, [&](auto zero) { return tensor_of<decltype(zero)>(image, bundle.input); });
    inputs.push_back(std::move(pixels.value));
    Tensor noise;
    if (bundle.noise) {
      noise = draw(*bundle.noise, key);
      names.push_back(bundle.noise->name.c_str());
      inputs.push_back(std::move(noise.value));
    }
    const char* output = bundle.output.name.c_str();
    try {
      const std::vector<Ort::Value> results = session.Run(Ort::RunOptions{nullptr}, names.data(),
                                                          inputs.data(), inputs.size(), &output, 1);
      const auto info = results.front().GetTensorTypeAndShapeInfo();
      if (info.GetShape() != bundle.output.shape ||
          info.GetElementType() != type_of(bundle.output)) {
        throw Error("the artifact's output " + bundle.output.name +
                    " is not as the manifest says; fix: run `elir-edge verify` on the bundle");
      }
      return with_type(bundle.output, [&](auto zero) {
        return image_of<decltype(zero)>(results.front(), bundle.output);
      });
    } catch (const Ort::Exception& error) {
      throw Error("ONNX Runtime " + Ort::GetVersionString() + " failed (" + error.what() +
                  "); fix: run `elir-edge verify` on the bundle");
    }
  }

  // sigma_s N(0, I), float32. Not numpy's generator: the draw is another one than Python's.
  Tensor draw(const TensorSpec& spec, int key) const {
    std::seed_seq seed{static_cast<std::uint32_t>(options.seed),
                       static_cast<std::uint32_t>(options.seed >> 32),
                       static_cast<std::uint32_t>(key)};
    std::mt19937_64 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(spec.count());
    for (float& value : values) value = normal(generator) * static_cast<float>(bundle.sigma_s);
    return wrapped(values, spec);
  }

  void restore_tiles(const Image& image, Image& result, const Progress& progress) {
    const int scale = bundle.upscale, size = static_cast<int>(bundle.input.side('H'));
    const int tile = size / scale, overlap = (bundle.overlap + scale - 1) / scale;
    const int padded_width = std::max(image.width, tile);
    const int padded_height = std::max(image.height, tile);
    const TileAxis rows = plan_axis(padded_height, tile, overlap);
    const TileAxis columns = plan_axis(padded_width, tile, overlap);
    const int total = static_cast<int>(rows.starts.size() * columns.starts.size());
    int done = 0;
    const auto tell = [&] {
      if (progress && !progress(done, total)) throw Cancelled();
    };
    const auto run_tile = [&](int top, int left) {
      FloatImage restored = run(enlarged(image, top, left, padded_height, padded_width), done);
      ++done;
      tell();
      return std::move(restored.values);
    };
    const auto emit = [&](int y, const float* values) {
      if (y < result.height) put_row(values, result.width, y, result);
    };
    tell();
    blend_tiles(rows, columns, padded_width, scale, run_tile, emit);
  }

  // The tile at (top, left), enlarged as if the whole image had been.
  FloatImage enlarged(const Image& image, int top, int left, int height, int width) const {
    const int scale = bundle.upscale, size = static_cast<int>(bundle.input.side('H'));
    const int tile = size / scale;
    if (scale == 1) return region_of(image, top, left, tile, tile);
    const int above = std::min(top, kFilterReach), before = std::min(left, kFilterReach);
    const int bottom = std::min(height, top + tile + kFilterReach);
    const int right = std::min(width, left + tile + kFilterReach);
    const FloatImage region =
        region_of(image, top - above, left - before, bottom - top + above, right - left + before);
    const FloatImage large =
        resize(region, region.height * scale, region.width * scale, bundle.bicubic);
    FloatImage part(size, size);
    for (int y = 0; y < size; ++y) {
      std::copy_n(large.at(y + above * scale, before * scale), size * 3, part.at(y, 0));
    }
    return part;
  }

  // Fits the longer side to the graph, fills the rest by reflection, restores, sizes back.
  void restore_whole(const Image& image, Image& result, const Progress& progress) {
    const int longer = std::max(image.width, image.height);
    if (longer > kNearSquare * std::min(image.width, image.height) && !options.whole) {
      throw Error("a picture of " + sides(image.width, image.height) +
                  " is not an aligned face, which this model needs; expected sides in a ratio of "
                  "at most 1.25; fix: crop it to the face, or pass --whole to resize all of it");
    }
    if (progress && !progress(0, 1)) throw Cancelled();
    const int size = static_cast<int>(bundle.input.side('H'));
    const double factor = static_cast<double>(size) / longer;
    const auto fitted = [&](int side) {
      return std::min(size, std::max(1, static_cast<int>(std::nearbyint(side * factor))));
    };
    const int height = fitted(image.height), width = fitted(image.width);
    const FloatImage small =
        resize(region_of(image, 0, 0, image.height, image.width), height, width, true);
    FloatImage square(size, size);
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) {
        std::copy_n(small.at(mirrored(y, height), mirrored(x, width)), 3, square.at(y, x));
      }
    }
    const FloatImage restored = run(square, 0);
    FloatImage part(width, height);
    for (int y = 0; y < height; ++y) std::copy_n(restored.at(y, 0), width * 3, part.at(y, 0));
    if (progress && !progress(1, 1)) throw Cancelled();
    const FloatImage sized = resize(part, result.height, result.width, true);
    for (int y = 0; y < result.height; ++y) put_row(sized.at(y, 0), result.width, y, result);
  }

  // What is to be filled in: the mask, or for `inpainting` what is wholly transparent; or nothing.
  std::vector<std::uint8_t> missing_of(const Image& image,
                                       const std::vector<std::uint8_t>* mask) const {
    if (mask) {
      if (bundle.task != "inpainting") {
        throw Error(
            "a mask marks missing pixels, which " + bundle.task +
                " does not fill in; fix: leave out the mask, or use a bundle of inpainting",
            Error::kUsage);
      }
      if (mask->size() !=
          static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height)) {
        throw Error("the mask has another size than the photo; expected " +
                    sides(image.width, image.height) + "; fix: bring the mask to this size");
      }
      return *mask;
    }
    std::vector<std::uint8_t> missing;
    if (bundle.task != "inpainting" ||
        std::find(image.alpha.begin(), image.alpha.end(), 0) == image.alpha.end()) {
      return missing;
    }
    for (const std::uint16_t opacity : image.alpha) missing.push_back(opacity == 0);
    return missing;
  }
};

Restorer::Restorer(const std::filesystem::path& bundle, const Options& options)
    : state_(std::make_unique<State>(bundle, options)) {}
Restorer::~Restorer() = default;

const std::string& Restorer::task() const { return state_->bundle.task; }
int Restorer::size() const { return static_cast<int>(state_->bundle.input.side('H')); }
int Restorer::upscale() const { return state_->bundle.upscale; }
std::string Restorer::runtime() const { return "onnxruntime " + Ort::GetVersionString(); }

Image Restorer::restore(const Image& image, const std::vector<std::uint8_t>* mask,
                        const Progress& progress) {
  const int scale = upscale();
  check_image(image, scale);
  const std::vector<std::uint8_t> missing = state_->missing_of(image, mask);
  Image input = image;
  const auto channels = static_cast<std::size_t>(image.channels);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    if (missing[i])
      std::fill_n(input.samples.begin() + static_cast<std::ptrdiff_t>(i * channels), channels, 0);
  }
  Image result{image.width * scale, image.height * scale, image.channels, image.maximum, {}, {}};
  result.samples.resize(static_cast<std::size_t>(result.width) *
                        static_cast<std::size_t>(result.height) * channels);
  if (state_->bundle.tiled) {
    state_->restore_tiles(input, result, progress);
  } else {
    state_->restore_whole(input, result, progress);
  }
  if (!image.alpha.empty()) {
    result.alpha = scale == 1 ? image.alpha
                              : resize_channel(image.alpha, image.width, image.height, result.width,
                                               result.height, image.maximum);
  }
  for (std::size_t i = 0; i < missing.size(); ++i) {  // inpainting does not enlarge
    const auto at = static_cast<std::ptrdiff_t>(i * channels);
    if (!missing[i]) {
      std::copy_n(image.samples.begin() + at, channels, result.samples.begin() + at);
    } else if (!result.alpha.empty()) {
      result.alpha[i] = static_cast<std::uint16_t>(image.maximum);
    }
  }
  return result;
}

}  // namespace elir
