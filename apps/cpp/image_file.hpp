// PNG and JPEG files, upright, 8 and 16 bits, with transparency and colour profile.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "elir.hpp"

namespace elir {

struct ImageFile {
  Image image;
  std::vector<unsigned char> icc_profile;
  std::vector<std::string> lost;  // what of the file is not read, a phrase each
};

// Reads an image file; how the camera was held (EXIF) is applied. Throws Error.
ImageFile read_image(const std::filesystem::path& path);

// Throws Error where the format that `path` names cannot hold the result of such an image.
void check_format(const std::filesystem::path& path, const Image& image, int upscale);

// Writes an image file, whole or not at all; returns what of the photo's file is not kept, a phrase
// each. Throws Error.
std::vector<std::string> write_image(const std::filesystem::path& path, const ImageFile& file);

}  // namespace elir
