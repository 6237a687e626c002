import Foundation
import XCTest

@testable import ElirCore

/// Against Python's numbers: `tests/golden/apps.json`, made by `python -m tests.apps.golden`.
final class GoldenTests: XCTestCase {
    private static let weightTolerance: Float = 1e-6
    private static let maxStep = 1  // of 255
    private static let maxShare = 0.001

    struct Axis: Decodable {
        let length, tile, overlap: Int
        let starts: [Int]
        let weights: [[Float]]
    }

    struct Source: Decodable {
        let width, height: Int
        let pixels: Data
    }

    struct Resized: Decodable {
        let width, height: Int
        let method: String
        let values: [Float]
    }

    struct Resizes: Decodable {
        let image: Source
        let cases: [Resized]
    }

    struct Fit: Decodable {
        let name: String
        let size, width, height: Int
        let processing: Manifest.Processing
        let pixels, restored: Data
    }

    struct Golden: Decodable {
        let axes: [Axis]
        let resize: Resizes
        let fits: [Fit]
    }

    private func golden() throws -> Golden {
        let beside = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../../tests/golden/apps.json").standardizedFileURL
        let named = ProcessInfo.processInfo.environment["ELIR_GOLDEN"].map(URL.init(fileURLWithPath:))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Golden.self, from: Data(contentsOf: named ?? beside))
    }

    private func image(_ width: Int, _ height: Int, _ rgb: Data) -> PixelImage {
        var image = PixelImage(width: width, height: height)
        for (i, byte) in rgb.enumerated() { image.bytes[i / 3 * 4 + i % 3] = byte }
        return image
    }

    /// 0.8 of the tile plus a slope across it, as in `tests/apps/golden.py`.
    private func network(_ tile: FloatImage) -> FloatImage {
        var result = tile
        let size = tile.width
        for i in tile.values.indices {
            let slope = (Float(i / 3 % size) + 2 * Float(i / 3 / size)) / Float(3 * size)
            result.values[i] = min(max(tile.values[i] * 0.8 + 0.2 * slope, 0), 1)
        }
        return result
    }

    private func assertEqual(_ got: [Float], _ expected: [Float], _ name: String) {
        XCTAssertEqual(got.count, expected.count, name)
        for (one, other) in zip(got, expected) {
            XCTAssertEqual(one, other, accuracy: Self.weightTolerance, name)
        }
    }

    func testTilesLieWherePythonLaysThem() throws {
        for expected in try golden().axes {
            let axis = TileAxis(length: expected.length, tile: expected.tile, overlap: expected.overlap)
            XCTAssertEqual(axis.starts, expected.starts)
            for (one, other) in zip(axis.weights, expected.weights) { assertEqual(one, other, "\(expected.length)") }
        }
    }

    func testImagesAreResizedAsPillowDoes() throws {
        let part = try golden().resize
        let source = image(part.image.width, part.image.height, part.image.pixels)
            .region(top: 0, left: 0, height: part.image.height, width: part.image.width)
        for expected in part.cases {
            let resized = source.resized(
                width: expected.width, height: expected.height, bicubic: expected.method == "bicubic")
            assertEqual(resized.values, expected.values, expected.method)
        }
    }

    /// The share of values that differ; infinite where one differs by more than a step.
    private func share(_ got: PixelImage, _ fit: Fit) -> Double {
        let expected = image(got.width, got.height, fit.restored)
        let steps = zip(got.bytes, expected.bytes).map { abs(Int($0) - Int($1)) }
        if steps.max()! > Self.maxStep { return .infinity }
        return Double(steps.filter { $0 > 0 }.count) / Double(got.width * got.height * 3)
    }

    private func restored(_ fit: Fit, _ processing: Manifest.Processing) throws -> PixelImage {
        try Fitting(processing, size: fit.size)
            .restore(image(fit.width, fit.height, fit.pixels), run: network) { _, _ in }
    }

    func testRestoredPixelsArePythons() throws {
        for fit in try golden().fits {
            XCTAssertLessThanOrEqual(share(try restored(fit, fit.processing), fit), Self.maxShare, fit.name)
        }
    }

    /// The twin of the test above.
    func testOtherTilesAreNoticed() throws {
        let fit = try golden().fits[0]
        let other = Manifest.Processing(fit: "tile", overlap: 16, upscale: 1, upscaleFilter: "nearest")
        XCTAssertGreaterThan(share(try restored(fit, other), fit), Self.maxShare)
    }

    func testProgressCountsTilesAndCanStop() throws {
        struct Stop: Error {}
        let fit = try golden().fits[0]
        let photo = image(fit.width, fit.height, fit.pixels)
        var told: [Int] = []
        _ = try Fitting(fit.processing, size: fit.size).restore(photo, run: network) { done, total in
            XCTAssertEqual(total, 6)
            told.append(done)
        }
        XCTAssertEqual(told, Array(0...6))
        XCTAssertThrowsError(
            try Fitting(fit.processing, size: fit.size).restore(photo, run: network) { done, _ in
                if done == 2 { throw Stop() }
            }
        ) { XCTAssertTrue($0 is Stop) }
    }

    func testTransparencyIsKept() throws {
        var photo = PixelImage(width: 40, height: 33)
        for i in 0..<(40 * 33) { photo.bytes[i * 4 + 3] = UInt8(i % 256) }
        let processing = Manifest.Processing(fit: "tile", overlap: 8, upscale: 1, upscaleFilter: "nearest")
        let restored = try Fitting(processing, size: 32).restore(photo, run: { $0 }) { _, _ in }
        XCTAssertEqual(restored.bytes, photo.bytes)
    }

    func testPsnrOfOneStep() {
        let black = FloatImage(width: 2, height: 2)
        let gray = FloatImage(width: 2, height: 2, values: [Float](repeating: 1 / 255, count: 12))
        XCTAssertEqual(psnr(black, gray), 48.13, accuracy: 0.01)
        XCTAssertEqual(psnr(black, black), .infinity)
    }
}
