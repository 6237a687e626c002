#include "image_file.hpp"

#include <fcntl.h>
#include <jerror.h>
#include <jpeglib.h>
#include <libexif/exif-data.h>
#include <png.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>

namespace elir {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<unsigned char>;

constexpr double kMaxPixels = 178956970.0;  // Pillow's limit
constexpr std::uintmax_t kMaxFileBytes = 1u << 30;
constexpr int kJpegQuality = 95;
constexpr int kLongestJpeg = 65535;

Error unreadable(const fs::path& path, const std::string& why) {
  return Error(path.string() + " cannot be read (" + why +
               "); fix: open and save it elsewhere first");
}

Bytes read_bytes(const fs::path& path) {
  if (!fs::is_regular_file(path)) {
    throw Error("no image file " + path.string() + "; fix: check the path");
  }
  if (fs::file_size(path) > kMaxFileBytes) throw unreadable(path, "it has more than 1 GiB");
  std::ifstream file(path, std::ios::binary);
  Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw Error("cannot read " + path.string() + "; fix: check its permissions");
  return bytes;
}

void check_pixels(const fs::path& path, double width, double height) {
  if (width * height > kMaxPixels) {
    throw Error(path.string() + " has more pixels than the safety limit allows; expected at most " +
                std::to_string(static_cast<long>(kMaxPixels)) + "; fix: restore parts of it");
  }
}

// Splits interleaved samples into colours and transparency.
void fill(Image& image, const std::vector<std::uint16_t>& samples, int channels) {
  const bool alpha = channels == 2 || channels == 4;
  image.channels = alpha ? channels - 1 : channels;
  const std::size_t pixels = samples.size() / static_cast<std::size_t>(channels);
  image.samples.clear();
  image.samples.reserve(pixels * static_cast<std::size_t>(image.channels));
  for (std::size_t i = 0; i < pixels; ++i) {
    const auto pixel = samples.begin() + static_cast<std::ptrdiff_t>(i) * channels;
    image.samples.insert(image.samples.end(), pixel, pixel + image.channels);
    if (alpha) image.alpha.push_back(*(pixel + image.channels));
  }
}

// Turns an image by EXIF's number, 1 to 8.
void turn_upright(Image& image, int orientation) {
  if (orientation < 2 || orientation > 8) return;
  const bool swaps = orientation >= 5;
  const int width = swaps ? image.height : image.width, height = swaps ? image.width : image.height;
  const auto turned = [&](const std::vector<std::uint16_t>& from, int channels) {
    std::vector<std::uint16_t> to;
    to.reserve(from.size());
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        int row = swaps ? x : y, column = swaps ? y : x;
        const bool flips_rows =
            orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
        const bool flips_columns =
            orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
        if (flips_rows) row = image.height - 1 - row;
        if (flips_columns) column = image.width - 1 - column;
        const auto pixel =
            from.begin() + (static_cast<std::ptrdiff_t>(row) * image.width + column) * channels;
        to.insert(to.end(), pixel, pixel + channels);
      }
    }
    return to;
  };
  image.samples = turned(image.samples, image.channels);
  if (!image.alpha.empty()) image.alpha = turned(image.alpha, 1);
  image.width = width, image.height = height;
}

// How the camera was held, from a JPEG file's bytes or "Exif\0\0" and what follows; 1: upright.
int orientation_of(const Bytes& bytes) {
  std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(
      exif_data_new_from_data(bytes.data(), static_cast<unsigned int>(bytes.size())),
      exif_data_unref);
  ExifEntry* entry =
      data ? exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION) : nullptr;
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->components < 1) return 1;
  return exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
}

// ---- PNG. libpng jumps back on errors: what has a destructor is made outside of its callers.

struct PngSource {
  const Bytes* bytes;
  std::size_t at;
  char message[200];
};

void png_take(png_structp png, png_bytep to, std::size_t length) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (length > source->bytes->size() - source->at) png_error(png, "the file ends too early");
  std::memcpy(to, source->bytes->data() + source->at, length);
  source->at += length;
}

void png_fail(png_structp png, png_const_charp message) {
  std::snprintf(static_cast<char*>(png_get_error_ptr(png)), 200, "%s", message);
  png_longjmp(png, 1);
}

void png_ignore(png_structp, png_const_charp) {}

struct PngHead {
  png_uint_32 width, height;
  int depth, channels;
};

// Reads the head, with transformations set up for gray or RGB of 8 or 16 bits, alpha where there
// is.
bool png_head(png_structp png, png_infop info, PngHead& head) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_info(png, info);
  png_set_expand(png);
  if (png_get_bit_depth(png, info) == 16) png_set_swap(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  head = {png_get_image_width(png, info), png_get_image_height(png, info),
          png_get_bit_depth(png, info), png_get_channels(png, info)};
  return true;
}

bool png_body(png_structp png, png_infop info, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_image(png, rows);
  png_read_end(png, info);
  return true;
}

bool has_chunk(const Bytes& bytes, const char* name) {
  for (std::size_t at = 8; at + 8 <= bytes.size();) {
    if (std::memcmp(bytes.data() + at + 4, name, 4) == 0) return true;
    at += 12 + ((std::size_t{bytes[at]} << 24) | (std::size_t{bytes[at + 1]} << 16) |
                (std::size_t{bytes[at + 2]} << 8) | std::size_t{bytes[at + 3]});
  }
  return false;
}

ImageFile read_png(const fs::path& path, const Bytes& bytes) {
  if (has_chunk(bytes, "acTL")) {
    throw Error(path.string() + " is an animation; fix: restore it by elir-edge restore");
  }
  PngSource source{&bytes, 0, ""};
  png_structp png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, source.message, png_fail, png_ignore);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info) throw Error("not enough memory to read " + path.string() + "; fix: close programs");
  struct Freed {
    png_structp* png;
    png_infop* info;
    ~Freed() { png_destroy_read_struct(png, info, nullptr); }
  } freed{&png, &info};
  png_set_read_fn(png, &source, png_take);
  PngHead head{};
  if (!png_head(png, info, head)) throw unreadable(path, source.message);
  check_pixels(path, head.width, head.height);
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  Bytes raw(row_bytes * head.height);
  std::vector<png_bytep> rows;
  for (png_uint_32 y = 0; y < head.height; ++y) rows.push_back(raw.data() + y * row_bytes);
  if (!png_body(png, info, rows.data())) throw unreadable(path, source.message);

  ImageFile file;
  file.image.width = static_cast<int>(head.width),
  file.image.height = static_cast<int>(head.height);
  file.image.maximum = head.depth == 16 ? 65535 : 255;
  std::vector<std::uint16_t> samples;
  if (head.depth == 16) {
    samples.resize(raw.size() / 2);
    std::memcpy(samples.data(), raw.data(), raw.size());
  } else {
    samples.assign(raw.begin(), raw.end());
  }
  fill(file.image, samples, head.channels);
  png_charp name;
  int compression;
  png_bytep profile;
  png_uint_32 length;
  if (png_get_iCCP(png, info, &name, &compression, &profile, &length)) {
    file.icc_profile.assign(profile, profile + length);
  }
  png_bytep exif;
  if (png_get_eXIf_1(png, info, &length, &exif)) {
    Bytes prefixed = {'E', 'x', 'i', 'f', 0, 0};
    prefixed.insert(prefixed.end(), exif, exif + length);
    turn_upright(file.image, orientation_of(prefixed));
    file.lost.push_back("EXIF (date, place, camera)");
  }
  if (png_get_text(png, info, nullptr, nullptr) > 0) file.lost.push_back("text");
  return file;
}

void png_give(png_structp png, png_bytep from, std::size_t length) {
  auto* to = static_cast<Bytes*>(png_get_io_ptr(png));
  to->insert(to->end(), from, from + length);
}

// `profiled`: whether the colour profile is kept; damaged ones, and those of another colour space,
// libpng leaves out.
bool png_write(png_structp png, png_infop info, const PngHead& head, const Bytes& profile,
               png_bytepp rows, bool* profiled) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_benign_errors(png, 1);
  const int kinds[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                       PNG_COLOR_TYPE_RGB_ALPHA};
  png_set_IHDR(png, info, head.width, head.height, head.depth, kinds[head.channels],
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!profile.empty()) {
    png_set_iCCP(png, info, "ICC profile", PNG_COMPRESSION_TYPE_BASE, profile.data(),
                 static_cast<png_uint_32>(profile.size()));
  }
  *profiled = png_get_valid(png, info, PNG_INFO_iCCP) != 0;
  png_write_info(png, info);
  if (head.depth == 16) png_set_swap(png);
  png_write_image(png, rows);
  png_write_end(png, nullptr);
  return true;
}

Bytes encode_png(const ImageFile& file, bool* profiled) {
  const Image& image = file.image;
  const int channels = image.channels + (image.alpha.empty() ? 0 : 1);
  const bool wide = image.maximum == 65535;
  const std::size_t pixels = image.samples.size() / static_cast<std::size_t>(image.channels);
  Bytes raw;
  raw.reserve(pixels * static_cast<std::size_t>(channels) * (wide ? 2 : 1));
  const auto put = [&](std::uint16_t sample) {
    unsigned char bytes[2];
    std::memcpy(bytes, &sample, 2);
    if (wide) {
      raw.insert(raw.end(), bytes, bytes + 2);
    } else {
      raw.push_back(static_cast<unsigned char>(sample));
    }
  };
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(image.channels); ++c) {
      put(image.samples[i * static_cast<std::size_t>(image.channels) + c]);
    }
    if (!image.alpha.empty()) put(image.alpha[i]);
  }
  const std::size_t row_bytes = raw.size() / static_cast<std::size_t>(image.height);
  std::vector<png_bytep> rows;
  for (int y = 0; y < image.height; ++y)
    rows.push_back(raw.data() + static_cast<std::size_t>(y) * row_bytes);
  char message[200] = "";
  Bytes encoded;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, png_fail, png_ignore);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info) throw Error("not enough memory to write a PNG; fix: close programs");
  png_set_write_fn(png, &encoded, png_give, nullptr);
  const PngHead head{static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
                     wide ? 16 : 8, channels};
  const bool written = png_write(png, info, head, file.icc_profile, rows.data(), profiled);
  png_destroy_write_struct(&png, &info);
  if (!written)
    throw Error("the PNG cannot be written (" + std::string(message) + "); fix: write to .jpg");
  return encoded;
}

// ---- JPEG. libjpeg's errors jump back likewise.

struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void jpeg_fail(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<JpegErrors*>(jpeg->err);
  errors->manager.format_message(jpeg, errors->message);
  std::longjmp(errors->jump, 1);
}

void jpeg_note(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
    jpeg_fail(jpeg);  // the file ends too early
}

jpeg_error_mgr* handlers(JpegErrors& errors) {
  jpeg_error_mgr* manager = jpeg_std_error(&errors.manager);
  manager->error_exit = jpeg_fail;
  manager->emit_message = jpeg_note;
  return manager;
}

bool jpeg_head(jpeg_decompress_struct& jpeg, JpegErrors& errors, const Bytes& bytes) {
  if (setjmp(errors.jump)) return false;
  jpeg_create_decompress(&jpeg);
  jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_save_markers(&jpeg, JPEG_APP0 + 2, 0xFFFF);
  jpeg_mem_src(&jpeg, bytes.data(), bytes.size());
  jpeg_read_header(&jpeg, TRUE);
  jpeg.out_color_space = jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  return true;
}

bool jpeg_body(jpeg_decompress_struct& jpeg, JpegErrors& errors, unsigned char* to) {
  if (setjmp(errors.jump)) return false;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = to + static_cast<std::size_t>(jpeg.output_scanline) * jpeg.output_width *
                            static_cast<std::size_t>(jpeg.output_components);
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

ImageFile read_jpeg(const fs::path& path, const Bytes& bytes) {
  JpegErrors errors{};
  jpeg_decompress_struct jpeg{};
  jpeg.err = handlers(errors);
  struct Freed {
    jpeg_decompress_struct* jpeg;
    ~Freed() { jpeg_destroy_decompress(jpeg); }
  } freed{&jpeg};
  if (!jpeg_head(jpeg, errors, bytes)) throw unreadable(path, errors.message);
  check_pixels(path, jpeg.image_width, jpeg.image_height);
  if (jpeg.num_components != 1 && jpeg.num_components != 3) {
    throw Error(path.string() + " is a JPEG of " + std::to_string(jpeg.num_components) +
                " channels; expected gray or RGB; fix: convert it to RGB");
  }
  ImageFile file;
  Bytes exif;
  // Finishing forgets the markers.
  JOCTET* profile = nullptr;
  unsigned int length = 0;
  if (jpeg_read_icc_profile(&jpeg, &profile, &length)) {
    file.icc_profile.assign(profile, profile + length);
    std::free(profile);
  }
  for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker; marker = marker->next) {
    const bool found = marker->marker == JPEG_APP0 + 1 && marker->data_length > 6 &&
                       std::memcmp(marker->data, "Exif\0", 6) == 0;
    if (found && exif.empty()) exif.assign(marker->data, marker->data + marker->data_length);
  }
  Bytes raw(std::size_t{jpeg.image_width} * jpeg.image_height *
            static_cast<std::size_t>(jpeg.num_components));
  if (!jpeg_body(jpeg, errors, raw.data())) throw unreadable(path, errors.message);
  file.image.width = static_cast<int>(jpeg.image_width);
  file.image.height = static_cast<int>(jpeg.image_height);
  fill(file.image, std::vector<std::uint16_t>(raw.begin(), raw.end()), jpeg.num_components);
  if (!exif.empty()) {
    turn_upright(file.image, orientation_of(exif));
    file.lost.push_back("EXIF (date, place, camera)");
  }
  return file;
}

bool jpeg_write(jpeg_compress_struct& jpeg, JpegErrors& errors, const Image& image,
                const Bytes& profile, Bytes& raw, unsigned char** to, unsigned long* length) {
  if (setjmp(errors.jump)) return false;
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, to, length);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = image.channels;
  jpeg.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, kJpegQuality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  if (!profile.empty()) {
    jpeg_write_icc_profile(&jpeg, profile.data(), static_cast<unsigned int>(profile.size()));
  }
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row = raw.data() + static_cast<std::size_t>(jpeg.next_scanline) *
                                    static_cast<std::size_t>(image.width) *
                                    static_cast<std::size_t>(image.channels);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

Bytes encode_jpeg(const ImageFile& file) {
  JpegErrors errors{};
  jpeg_compress_struct jpeg{};
  jpeg.err = handlers(errors);
  unsigned char* encoded = nullptr;
  unsigned long length = 0;
  Bytes raw;
  for (const std::uint16_t sample : file.image.samples)
    raw.push_back(static_cast<unsigned char>(sample));
  const bool written =
      jpeg_write(jpeg, errors, file.image, file.icc_profile, raw, &encoded, &length);
  Bytes bytes;
  if (written) bytes.assign(encoded, encoded + length);
  jpeg_destroy_compress(&jpeg);
  std::free(encoded);
  if (!written) {
    throw Error("the JPEG cannot be written (" + std::string(errors.message) +
                "); fix: write to .png");
  }
  return bytes;
}

std::string suffix_of(const fs::path& path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return suffix;
}

bool is_jpeg(const fs::path& path) {
  return suffix_of(path) == ".jpg" || suffix_of(path) == ".jpeg";
}

// A hidden name beside `path` that nothing has.
fs::path sibling(const fs::path& path) {
  std::random_device random;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%08x%08x", random(), random());
  return path.parent_path() / ("." + path.filename().string().substr(0, 200) + "." + digits);
}

void write_whole(fs::path path, const Bytes& content) {
  path = fs::weakly_canonical(path);  // what a link points to is replaced, not the link
  const fs::path temporary = sibling(path);
  const auto refused = [&](const char* what) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return Error("cannot " + std::string(what) + " " + path.string() + " (" + std::strerror(code) +
                 "); fix: check the folder, its permissions and the space on the disk");
  };
  struct stat before{};
  const bool existed = ::stat(path.c_str(), &before) == 0;
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) throw refused("write");
  for (std::size_t at = 0; at < content.size();) {
    const ssize_t count = ::write(file, content.data() + at, content.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int code = errno;
      ::close(file);
      errno = code;
      throw refused("write");
    }
    at += static_cast<std::size_t>(count);
  }
  // On the disk before the name changes: a power cut leaves the old file or the new one.
  const bool kept = (!existed || ::fchmod(file, before.st_mode & 07777) == 0) && ::fsync(file) == 0;
  const int code = errno;
  if (::close(file) != 0) throw refused("write");
  errno = code;
  if (!kept) throw refused("write");
  if (::rename(temporary.c_str(), path.c_str()) != 0) throw refused("replace");
}

}  // namespace

ImageFile read_image(const fs::path& path) {
  const Bytes bytes = read_bytes(path);
  if (bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0) return read_png(path, bytes);
  if (bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF) {
    return read_jpeg(path, bytes);
  }
  throw Error(path.string() +
              " is not an image that can be read; expected PNG or JPEG; fix: convert it "
              "to PNG");
}

void check_format(const fs::path& path, const Image& image, int upscale) {
  if (suffix_of(path) == ".png") return;
  if (!is_jpeg(path)) {
    throw Error("cannot write " + path.filename().string() + "; got suffix '" + suffix_of(path) +
                    "'; expected one of .png .jpg .jpeg; fix: name the result so",
                Error::kUsage);
  }
  const std::string fix = "; fix: write to .png";
  if (!image.alpha.empty()) throw Error(".jpg cannot hold transparency" + fix);
  if (image.maximum > 255) throw Error(".jpg cannot hold 16 bits" + fix);
  if (static_cast<long>(std::max(image.width, image.height)) * upscale > kLongestJpeg) {
    throw Error(".jpg cannot hold more than " + std::to_string(kLongestJpeg) +
                " pixels along a side" + fix);
  }
}

std::vector<std::string> write_image(const fs::path& path, const ImageFile& file) {
  check_format(path, file.image, 1);
  bool profiled = true;
  write_whole(path, is_jpeg(path) ? encode_jpeg(file) : encode_png(file, &profiled));
  std::vector<std::string> lost = file.lost;
  if (!file.icc_profile.empty() && !profiled) lost.push_back("the damaged colour profile");
  return lost;
}

}  // namespace elir
