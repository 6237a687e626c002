import Foundation
import XCTest

@testable import ElirCore

/// A manifest in Python's form, and changes to it.
final class ManifestTests: XCTestCase {
    private let values: [String: Any] = [
        "schema_version": 2,
        "identity": ["name": "denoising-tiny-onnx-fp32-64", "task": "denoising", "num_steps": 2],
        "files": [
            ["path": "model.onnx", "role": "artifact", "bytes": 10, "sha256": "00"],
            ["path": "golden_input.png", "role": "golden", "bytes": 10, "sha256": "00"],
        ],
        "inputs": [ManifestTests.tensor("image")],
        "outputs": [ManifestTests.tensor("restored")],
        "processing": ["fit": "tile", "overlap": 16, "upscale": 1, "upscale_filter": "nearest"],
        "target": ["backend": "onnxruntime", "name": "onnx", "runtimes": ["onnxruntime": "model.onnx"]],
        "self_test": ["input": "golden_input.png", "expected": "golden_output.png", "min_psnr": 55.0],
    ]

    private static func tensor(_ name: String) -> [String: Any] {
        [
            "name": name, "role": "image", "shape": [1, 3, 64, 64], "dtype": "float32", "layout": "NCHW", "colour": "RGB",
            "low": 0.0, "high": 1.0, "scale": NSNull(), "zero_point": NSNull(),
        ]
    }

    private func parse(_ values: [String: Any]) throws -> Manifest {
        try Manifest.parse(JSONSerialization.data(withJSONObject: values))
    }

    private func refusal(_ key: String, _ changed: Any) -> String {
        var other = values
        other[key] = changed
        var line = ""
        XCTAssertThrowsError(try parse(other)) { line = ($0 as? ElirError)?.line ?? "\($0)" }
        XCTAssertTrue(line.contains("fix: "), line)
        return line
    }

    private func changed(_ key: String, _ inner: String, _ value: Any) -> [String: Any] {
        var part = values[key] as! [String: Any]
        part[inner] = value
        return part
    }

    func testWhatPythonWritesIsRead() throws {
        let named = ProcessInfo.processInfo.environment["ELIR_MANIFEST"]
        let manifest = try named.map { try Manifest.parse(Data(contentsOf: URL(fileURLWithPath: $0))) } ?? parse(values)
        XCTAssertEqual(manifest.identity.task, "denoising")
        XCTAssertEqual(manifest.artifact, "model.onnx")
        XCTAssertTrue(manifest.processing.tiled)
        XCTAssertEqual(manifest.input.size, 64)
    }

    func testWhatCannotBeRunIsRefusedInOneLine() {
        XCTAssertTrue(refusal("schema_version", 3).contains("schema version"))
        XCTAssertTrue(refusal("processing", ["fit": "tile"]).contains("malformed"))
        XCTAssertTrue(refusal("processing", changed("processing", "overlap", 1000)).contains("cannot be laid"))
        XCTAssertTrue(refusal("target", ["backend": "litert", "runtimes": [String: String]()]).contains("is for litert"))
        XCTAssertTrue(refusal("self_test", changed("self_test", "input", "../photo.png")).contains("outside"))
        var tensor = Self.tensor("image")
        tensor["layout"] = "NHWC"
        XCTAssertTrue(refusal("inputs", [tensor]).contains("NCHW"))
        tensor["role"] = "noise"
        XCTAssertTrue(refusal("inputs", [Self.tensor("image"), tensor]).contains("noise"))
        XCTAssertThrowsError(try Manifest.parse(Data("{".utf8)))
    }

    func testTensorsGoThereAndBack() throws {
        var changed = Self.tensor("image")
        changed["shape"] = [2, 3, 2, 2]
        changed["low"] = -1.0
        var other = values
        other["inputs"] = [changed]
        let spec = try JSONDecoder().decode(Manifest.Tensor.self, from: JSONSerialization.data(withJSONObject: changed))
        let picture = FloatImage(width: 2, height: 2, values: (0..<12).map { Float($0) / 255 })
        let tensor = picture.tensor(spec)
        XCTAssertEqual(tensor.count, 24)
        XCTAssertEqual(tensor[0], -1)  // black red of the first pixel
        XCTAssertEqual(tensor[1], 3 / 255 * 2 - 1, accuracy: 1e-6)  // red of the second
        for (one, value) in zip(try FloatImage(tensor: tensor, spec).values, picture.values) {
            XCTAssertEqual(one, value, accuracy: 1e-6)
        }
        XCTAssertThrowsError(try FloatImage(tensor: [Float](repeating: .nan, count: 24), spec))
        XCTAssertThrowsError(try FloatImage(tensor: [0], spec))
    }
}
