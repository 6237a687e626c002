#include "bundle.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "elir.hpp"

namespace elir {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kSchemaVersion = 2;
constexpr std::uintmax_t kMaxManifestBytes = 4 << 20;
constexpr double kMaxElements = 2147483648.0;
constexpr int kMaxUpscale = 64;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kDigest = "manifest.sha256";
// What file managers leave in any folder.
const std::set<std::string> kOfTheSystem = {".DS_Store", "Thumbs.db", "desktop.ini"};

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw Error("cannot read " + path.string() + "; fix: check its permissions");
  return content;
}

// SHA-256 in hexadecimal, of a file's bytes, read in parts.
std::string sha256_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  std::vector<char> part(1 << 20);
  bool good = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  while (good && file) {
    file.read(part.data(), static_cast<std::streamsize>(part.size()));
    good =
        EVP_DigestUpdate(context.get(), part.data(), static_cast<std::size_t>(file.gcount())) == 1;
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  good = good && file.eof() && EVP_DigestFinal_ex(context.get(), digest, &length) == 1;
  if (!good) throw Error("cannot read " + path.string() + "; fix: check its permissions");
  static const char* kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

// The path of a listed file; manifests may only name files inside the bundle.
fs::path path_inside(const fs::path& folder, const std::string& name) {
  const fs::path root = fs::weakly_canonical(folder);
  const fs::path path =
      name.find('\0') == std::string::npos ? fs::weakly_canonical(folder / name) : fs::path();
  const auto [end, rest] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  if (end != root.end() || rest == path.end()) {
    throw Error("the manifest of " + folder.string() + " names a file outside it; got '" + name +
                "'; fix: take the bundle from where it was exported");
  }
  return path;
}

void check_files(const fs::path& folder, const json& files) {
  std::set<std::string> listed = {kManifest, kDigest};
  for (const json& entry : files) {
    const auto name = entry.at("path").get<std::string>();
    listed.insert(name);
    const fs::path path = path_inside(folder, name);
    if (!fs::is_regular_file(path)) {
      throw Error(folder.string() + " lacks " + name + "; fix: copy the whole folder");
    }
    if (fs::file_size(path) != entry.at("bytes").get<std::uintmax_t>() ||
        sha256_of(path) != entry.at("sha256").get<std::string>()) {
      throw Error(folder.string() + " was altered after export; got different content in " + name +
                  "; fix: copy the bundle again, or export again");
    }
  }
  for (const auto& found : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(found.path(), folder).generic_string();
    if ((!found.is_directory() || found.is_symlink()) && !listed.count(name) &&
        !kOfTheSystem.count(found.path().filename().string())) {
      throw Error(folder.string() + " holds files that its manifest does not list; got " + name +
                  "; fix: move them elsewhere, or copy the bundle again");
    }
  }
  const fs::path digest = folder / kDigest;
  if (!fs::is_regular_file(digest)) {
    throw Error(folder.string() + " lacks " + kDigest + "; fix: copy the whole folder");
  }
  if (read_file(digest) != sha256_of(folder / kManifest) + "  " + kManifest + "\n") {
    throw Error(folder.string() + " was altered after export; got different content in " +
                kManifest + "; fix: copy the bundle again, or export again");
  }
}

TensorSpec tensor_of(const json& value) {
  TensorSpec spec;
  spec.name = value.at("name").get<std::string>();
  spec.dtype = value.at("dtype").get<std::string>();
  spec.layout = value.at("layout").get<std::string>();
  spec.shape = value.at("shape").get<std::vector<std::int64_t>>();
  spec.low = value.at("low").get<double>();
  spec.high = value.at("high").get<double>();
  std::string letters = spec.layout;
  std::sort(letters.begin(), letters.end());
  double elements = 1;
  bool possible = letters == "CHNW" && spec.shape.size() == 4;
  for (const std::int64_t extent : spec.shape) {
    possible = possible && extent >= 1;
    elements *= static_cast<double>(extent);
  }
  if (!possible || elements > kMaxElements) {
    throw Error("manifest.json has an invalid tensor " + spec.name + "; fix: export again");
  }
  return spec;
}

TensorSpec only_image(const json& tensors) {
  std::vector<TensorSpec> found;
  for (const json& each : tensors) {
    if (each.at("role").get<std::string>() == "image") found.push_back(tensor_of(each));
  }
  if (found.size() != 1) {
    throw Error("the manifest names " + std::to_string(found.size()) +
                " tensors for the image; expected 1; fix: export again");
  }
  const TensorSpec& spec = found.front();
  if (spec.side('C') != 3 || spec.side('H') != spec.side('W') || !(spec.high > spec.low)) {
    throw Error("manifest.json has an invalid tensor " + spec.name +
                "; expected a square of red, green and blue; fix: export again");
  }
  return spec;
}

std::string artifact_of(const json& manifest) {
  const json& target = manifest.at("target");
  const json runtimes = target.value("runtimes", json::object());
  if (runtimes.contains("onnxruntime")) return runtimes.at("onnxruntime").get<std::string>();
  const auto backend = target.at("backend").get<std::string>();
  if (backend != "onnxruntime") {
    throw Error("the bundle is for " + backend +
                "; expected one for onnxruntime; fix: make export TARGET=onnx");
  }
  for (const json& entry : manifest.at("files")) {
    if (entry.at("role").get<std::string>() == "artifact")
      return entry.at("path").get<std::string>();
  }
  throw Error("manifest.json names no artifact; fix: export again");
}

Bundle described(const fs::path& folder, const json& manifest) {
  Bundle bundle;
  bundle.task = manifest.at("identity").at("task").get<std::string>();
  bundle.sigma_s = manifest.at("identity").at("sigma_s").get<double>();
  bundle.input = only_image(manifest.at("inputs"));
  bundle.output = only_image(manifest.at("outputs"));
  for (const json& each : manifest.at("inputs")) {
    if (each.at("role").get<std::string>() == "noise") bundle.noise = tensor_of(each);
  }
  const json& processing = manifest.at("processing");
  bundle.tiled = processing.at("fit").get<std::string>() == "tile";
  bundle.overlap = processing.at("overlap").get<int>();
  bundle.upscale = processing.at("upscale").get<int>();
  bundle.bicubic = processing.at("upscale_filter").get<std::string>() == "bicubic";
  const std::int64_t size = bundle.input.side('H');
  const bool enlarges = 1 <= bundle.upscale && bundle.upscale <= kMaxUpscale;
  const bool lays =
      !bundle.tiled || (0 <= bundle.overlap && bundle.overlap <= size - 2 * bundle.upscale &&
                        size % bundle.upscale == 0);
  if (!enlarges || !lays || bundle.output.side('H') != size) {
    throw Error("the manifest asks for tiles that cannot be laid; got upscale " +
                std::to_string(bundle.upscale) + ", overlap " + std::to_string(bundle.overlap) +
                "; fix: export again with a larger size");
  }
  bundle.artifact = path_inside(folder, artifact_of(manifest));
  if (!fs::is_regular_file(bundle.artifact)) {
    throw Error("the manifest names no file of the bundle for onnxruntime; fix: export again");
  }
  return bundle;
}

}  // namespace

std::size_t TensorSpec::count() const {
  std::size_t product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<std::size_t>(extent);
  return product;
}

Bundle open_bundle(const fs::path& folder) {
  const fs::path path = folder / kManifest;
  if (!fs::is_regular_file(path)) {
    throw Error(folder.string() + " is not a bundle; got no " + kManifest +
                "; fix: pass a folder made by export");
  }
  if (fs::file_size(path) > kMaxManifestBytes) {
    throw Error(path.string() + " is not a manifest; expected at most " +
                std::to_string(kMaxManifestBytes) + " bytes; fix: export again");
  }
  try {
    const json manifest = json::parse(read_file(path));
    if (!manifest.is_object() || manifest.value("schema_version", json()) != json(kSchemaVersion)) {
      throw Error("manifest.json has another schema version; expected " +
                  std::to_string(kSchemaVersion) +
                  "; fix: export again with the version of elir-edge that this program is of");
    }
    check_files(folder, manifest.at("files"));
    return described(folder, manifest);
  } catch (const json::exception& error) {
    throw Error("manifest.json is malformed (" + std::string(error.what()) +
                "); fix: export again");
  }
}

}  // namespace elir
