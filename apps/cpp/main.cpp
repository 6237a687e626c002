// elir-restore: restores a photo with a bundle of elir-edge, without Python.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "elir.hpp"
#include "image_file.hpp"

namespace {

namespace fs = std::filesystem;
using elir::Error;

constexpr const char* kHelp =
    "usage: elir-restore --bundle DIR PHOTO RESULT [options]\n"
    "\n"
    "Restores a photo (PNG or JPEG, any size) with a bundle that `make export TARGET=onnx` made.\n"
    "The photo is never written over.\n"
    "\n"
    "  --bundle DIR   the folder of the bundle\n"
    "  --mask FILE    inpainting: what is missing is white in this image\n"
    "  --force        replace a result that exists\n"
    "  --whole        bfr: resize pictures that are not aligned faces, too\n"
    "  --threads N    of the processor; default: the runtime's choice\n"
    "  --seed N       of the noise, where the bundle takes it as an input\n"
    "  --help         this text\n"
    "\n"
    "Example: elir-restore --bundle dist/denoising-nano-onnx-fp32 photo.jpg restored.png\n";

struct Arguments {
  fs::path bundle, photo, result, mask;
  elir::Options options;
  bool force = false, help = false;
};

long long number(const std::string& option, const std::string& text, long long least) {
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < least) {
    throw Error(option + " is no number that can be used; got '" + text + "'; expected at least " +
                    std::to_string(least) + "; fix: pass a whole number",
                Error::kUsage);
  }
  return value;
}

Arguments parse(int count, char** words) {
  Arguments arguments;
  std::vector<std::string> files;
  bool options_end = false;
  for (int i = 1; i < count; ++i) {
    std::string word = words[i];
    if (options_end || word.size() < 2 || word[0] != '-') {
      files.push_back(word);
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const auto value = [&]() -> std::string {
      if (equals != std::string::npos) return word.substr(equals + 1);
      if (i + 1 >= count) {
        throw Error(name + " lacks its value; fix: see elir-restore --help", Error::kUsage);
      }
      return words[++i];
    };
    const bool alone = equals == std::string::npos;
    if (name == "--bundle") {
      arguments.bundle = value();
    } else if (name == "--mask") {
      arguments.mask = value();
    } else if (name == "--threads") {
      arguments.options.threads = static_cast<int>(std::min(number(name, value(), 1), 4096LL));
    } else if (name == "--seed") {
      arguments.options.seed = static_cast<std::uint64_t>(number(name, value(), 0));
    } else if (name == "--force" && alone) {
      arguments.force = true;
    } else if (name == "--whole" && alone) {
      arguments.options.whole = true;
    } else if ((name == "--help" || name == "-h") && alone) {
      arguments.help = true;
      return arguments;
    } else {
      throw Error("no option " + word + "; fix: see elir-restore --help", Error::kUsage);
    }
  }
  if (arguments.bundle.empty()) {
    throw Error("no bundle given; expected --bundle DIR; fix: see elir-restore --help",
                Error::kUsage);
  }
  if (files.size() != 2) {
    throw Error("got " + std::to_string(files.size()) +
                    " files; expected a photo and the result; fix: see elir-restore --help",
                Error::kUsage);
  }
  arguments.photo = files[0], arguments.result = files[1];
  return arguments;
}

// An input is never written over, a result only when told.
void check_result(const Arguments& arguments) {
  if (!fs::exists(arguments.result)) {
    const fs::path folder = fs::absolute(arguments.result).parent_path();
    if (!fs::is_directory(folder)) {
      throw Error("no folder " + folder.string() + "; fix: make it first", Error::kUsage);
    }
    return;
  }
  if (fs::is_directory(arguments.result)) {
    throw Error(arguments.result.string() + " is a folder; expected a file; fix: name the result",
                Error::kUsage);
  }
  for (const fs::path& input : {arguments.photo, arguments.mask}) {
    if (!input.empty() && fs::exists(input) && fs::equivalent(input, arguments.result)) {
      throw Error(arguments.result.string() +
                      " is an input: it would be written over; fix: pass another result",
                  Error::kUsage);
    }
  }
  if (!arguments.force) {
    throw Error(arguments.result.string() + " exists; fix: pass --force to replace it",
                Error::kUsage);
  }
}

// White where at least half white, as in Python; what is transparent is not drawn.
std::vector<std::uint8_t> read_mask(const fs::path& path, const elir::Image& photo) {
  const elir::Image mask = elir::read_image(path).image;
  if (mask.width != photo.width || mask.height != photo.height) {
    throw Error("the mask has another size than the photo; got " + std::to_string(mask.width) +
                " x " + std::to_string(mask.height) + "; expected " + std::to_string(photo.width) +
                " x " + std::to_string(photo.height) + "; fix: bring the mask to this size");
  }
  std::vector<std::uint8_t> missing;
  const auto channels = static_cast<std::size_t>(mask.channels);
  for (std::size_t i = 0; i < mask.samples.size() / channels; ++i) {
    double white = 0;
    for (std::size_t c = 0; c < channels; ++c) white += mask.samples[i * channels + c];
    white /= static_cast<double>(channels) * mask.maximum;
    if (!mask.alpha.empty()) white *= static_cast<double>(mask.alpha[i]) / mask.maximum;
    missing.push_back(white >= 0.5);
  }
  return missing;
}

volatile std::sig_atomic_t stopped_by = 0;

void stop(int signal) { stopped_by = signal; }

// Tiles done and the time that is left, on a terminal only.
class ProgressLine {
 public:
  bool operator()(int done, int total) {
    using seconds = std::chrono::duration<double>;
    const double spent = seconds(std::chrono::steady_clock::now() - start_).count();
    if (shown_ && done == 0) std::fprintf(stderr, "\r\033[Ktiles 0/%d", total);
    if (shown_ && done > 0) {
      std::fprintf(stderr, "\r\033[Ktiles %d/%d, %.0f s left", done, total,
                   spent / done * (total - done));
    }
    return stopped_by == 0;
  }
  ~ProgressLine() {
    if (shown_) std::fprintf(stderr, "\r\033[K");
  }

 private:
  const bool shown_ = isatty(STDERR_FILENO) != 0;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void run(const Arguments& arguments) {
  check_result(arguments);
  elir::ImageFile photo = elir::read_image(arguments.photo);
  std::vector<std::uint8_t> missing;
  if (!arguments.mask.empty()) missing = read_mask(arguments.mask, photo.image);
  elir::Restorer restorer(arguments.bundle, arguments.options);
  elir::check_format(arguments.result, photo.image, restorer.upscale());  // before the work
  {
    ProgressLine line;
    photo.image = restorer.restore(photo.image, arguments.mask.empty() ? nullptr : &missing,
                                   [&](int done, int total) { return line(done, total); });
  }
  for (const std::string& lost : elir::write_image(arguments.result, photo)) {
    std::fprintf(stderr, "warning: %s: %s is left out\n", arguments.photo.filename().c_str(),
                 lost.c_str());
  }
  std::printf("restored %s: %d x %d, %s, %s\n", arguments.result.c_str(), photo.image.width,
              photo.image.height, restorer.task().c_str(), restorer.runtime().c_str());
}

// Libraries quoted in a message may have broken it into lines.
int fail(std::string line, int code) {
  for (char& letter : line) {
    if (letter == '\n' || letter == '\r') letter = ' ';
  }
  std::fprintf(stderr, "error: %s\n", line.c_str());
  return code;
}

}  // namespace

int main(int count, char** words) {
  // Before ONNX Runtime does anything: nothing is reported to anyone.
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
  std::signal(SIGINT, stop);
  std::signal(SIGTERM, stop);
  try {
    const Arguments arguments = parse(count, words);
    if (arguments.help) {
      std::fputs(kHelp, stdout);
      return 0;
    }
    run(arguments);
    return 0;
  } catch (const elir::Cancelled&) {
    std::fputs(stopped_by == SIGTERM ? "terminated\n" : "interrupted\n", stderr);
    return 128 + stopped_by;
  } catch (const Error& error) {
    return fail(error.what(), error.exit_code());
  } catch (const fs::filesystem_error& error) {
    return fail(std::string("the system refused (") + error.what() +
                    "); fix: check the path and its permissions",
                1);
  } catch (const std::bad_alloc&) {
    return fail("not enough memory; fix: restore parts of the image, or close programs", 1);
  } catch (const std::exception& error) {
    return fail(std::string("ONNX Runtime or the system refused (") + error.what() +
                    "); fix: run `elir-edge verify` on the bundle",
                1);
  }
}
