import CoreGraphics
import ElirCore
import Foundation
import ImageIO
import Photos
import UIKit

extension PixelImage {
    private static let layout = CGBitmapInfo(rawValue: CGImageAlphaInfo.premultipliedLast.rawValue)

    /// The pixels of an image in sRGB.
    init(_ image: CGImage) throws {
        self.init(width: image.width, height: image.height)
        let drawn: Bool = bytes.withUnsafeMutableBytes { buffer in
            guard let space = CGColorSpace(name: CGColorSpace.sRGB),
                  let context = CGContext(
                    data: buffer.baseAddress, width: image.width, height: image.height, bitsPerComponent: 8,
                    bytesPerRow: image.width * 4, space: space, bitmapInfo: Self.layout.rawValue)
            else { return false }
            context.clear(CGRect(x: 0, y: 0, width: image.width, height: image.height))
            context.draw(image, in: CGRect(x: 0, y: 0, width: image.width, height: image.height))
            return true
        }
        guard drawn else { throw ElirError("not enough memory for this photo; fix: crop it") }
        // Core Graphics multiplies colours by their opacity.
        for i in stride(from: 0, to: bytes.count, by: 4) where bytes[i + 3] > 0 && bytes[i + 3] < 255 {
            for c in 0..<3 { bytes[i + c] = UInt8(min(255, (Int(bytes[i + c]) * 255 + Int(bytes[i + 3]) / 2) / Int(bytes[i + 3]))) }
        }
    }

    var isOpaque: Bool {
        stride(from: 3, to: bytes.count, by: 4).allSatisfy { bytes[$0] == 255 }
    }

    /// An image in sRGB.
    func cgImage() throws -> CGImage {
        let info = CGBitmapInfo(rawValue: CGImageAlphaInfo.last.rawValue)
        guard let space = CGColorSpace(name: CGColorSpace.sRGB),
              let provider = CGDataProvider(data: Data(bytes) as CFData),
              let image = CGImage(
                width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 32, bytesPerRow: width * 4, space: space,
                bitmapInfo: info, provider: provider, decode: nil, shouldInterpolate: false, intent: .defaultIntent)
        else { throw ElirError("not enough memory for this photo; fix: crop it") }
        return image
    }
}

/// Reads a photo and saves results as new ones; an original is never written to.
enum PhotoLibrary {
    private static let maxPixels = 64 * 1024 * 1024
    private static let jpegQuality = 0.95

    /// Decodes a photo, upright.
    static func read(_ data: Data, upscale: Int) throws -> CGImage {
        guard let source = CGImageSourceCreateWithData(data as CFData, nil),
              let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
              let width = properties[kCGImagePropertyPixelWidth] as? Int,
              let height = properties[kCGImagePropertyPixelHeight] as? Int
        else { throw ElirError("the photo cannot be read; fix: choose another") }
        guard width * height * upscale * upscale <= maxPixels else {
            throw ElirError(
                "the result would have \(width * height * upscale * upscale / 1_000_000) megapixels; expected at most "
                    + "\(maxPixels / 1_000_000); fix: crop the photo")
        }
        // The thumbnail of full size is the photo turned upright.
        let options: [CFString: Any] = [
            kCGImageSourceCreateThumbnailFromImageAlways: true,
            kCGImageSourceCreateThumbnailWithTransform: true,
            kCGImageSourceThumbnailMaxPixelSize: max(width, height),
        ]
        guard let image = CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary) else {
            throw ElirError("the photo cannot be read; fix: choose another")
        }
        return image
    }

    /// Saves a result as a new photo: PNG where there is transparency, JPEG else.
    static func save(_ result: PixelImage) async throws {
        let image = UIImage(cgImage: try result.cgImage())
        guard let data = result.isOpaque ? image.jpegData(compressionQuality: jpegQuality) : image.pngData() else {
            throw ElirError("the result cannot be encoded; fix: free memory")
        }
        let status = await PHPhotoLibrary.requestAuthorization(for: .addOnly)
        guard status == .authorized || status == .limited else {
            throw ElirError("the app may not add photos; fix: allow it in Settings, Privacy, Photos")
        }
        try await PHPhotoLibrary.shared().performChanges {
            PHAssetCreationRequest.forAsset().addResource(with: .photo, data: data, options: nil)
        }
    }
}
