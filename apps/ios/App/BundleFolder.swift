import CryptoKit
import ElirCore
import Foundation
import UIKit

/// The bundle that the app carries in its resources: the folder `bundle`.
struct BundleFolder {
    let manifest: Manifest
    private let folder: URL

    /// Reads the manifest and checks size and hash of every file that the app uses.
    init() throws {
        guard let folder = Bundle.main.url(forResource: "bundle", withExtension: nil) else {
            throw ElirError("the app carries no bundle; fix: copy one to apps/ios/bundle and build again")
        }
        self.folder = folder
        manifest = try Manifest.parse(Data(contentsOf: folder.appendingPathComponent(Manifest.file)))
        for path in [manifest.artifact, manifest.selfTest.input, manifest.selfTest.expected] {
            guard let entry = manifest.files.first(where: { $0.path == path }) else {
                throw ElirError("the manifest does not list \(path); fix: export again")
            }
            let content = try Data(contentsOf: url(path), options: .mappedIfSafe)
            let hash = SHA256.hash(data: content).map { String(format: "%02x", $0) }.joined()
            guard content.count == entry.bytes, hash == entry.sha256 else {
                throw ElirError("\(path) was altered after export; fix: build the app with the whole bundle")
            }
        }
    }

    func url(_ path: String) -> URL {
        folder.appendingPathComponent(path)
    }

    /// A picture of the bundle that has the graph's size.
    func goldenImage(_ path: String) throws -> FloatImage {
        let size = manifest.input.size
        guard let image = UIImage(contentsOfFile: url(path).path)?.cgImage, image.width == size, image.height == size else {
            throw ElirError("\(path) does not fit the bundle's graph; fix: export again")
        }
        return try PixelImage(image).region(top: 0, left: 0, height: size, width: size)
    }
}
