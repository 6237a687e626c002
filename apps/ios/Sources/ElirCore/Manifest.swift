import Foundation

/// The part of a bundle's `manifest.json` that an application needs.
public struct Manifest: Decodable {
    public static let file = "manifest.json"

    /// A file of the bundle, with the hash that it had when it was exported.
    public struct File: Decodable {
        public let path: String
        public let role: String
        public let bytes: Int
        public let sha256: String
    }

    public struct Identity: Decodable {
        public let name: String
        public let task: String
    }

    /// The image at the input or output; `low` and `high` are the values of black and white.
    public struct Tensor: Decodable {
        public let name: String
        public let role: String
        public let shape: [Int]
        public let dtype: String
        public let layout: String
        public let low: Float
        public let high: Float

        /// Side of the square, in pixels.
        public var size: Int { shape[2] }
        public var batch: Int { shape[0] }
    }

    /// How an image of any size meets the fixed graph.
    public struct Processing: Decodable {
        public let fit: String
        public let overlap: Int
        public let upscale: Int
        public let upscaleFilter: String

        public init(fit: String, overlap: Int, upscale: Int, upscaleFilter: String) {
            self.fit = fit
            self.overlap = overlap
            self.upscale = upscale
            self.upscaleFilter = upscaleFilter
        }

        public var tiled: Bool { fit == "tile" }
        public var bicubic: Bool { upscaleFilter == "bicubic" }
    }

    public struct Target: Decodable {
        public let backend: String
        public let runtimes: [String: String]?
    }

    public struct SelfTest: Decodable {
        public let input: String
        public let expected: String
        public let minPsnr: Double
    }

    public let schemaVersion: Int
    public let identity: Identity
    public let files: [File]
    public let inputs: [Tensor]
    public let outputs: [Tensor]
    public let processing: Processing
    public let target: Target
    public let selfTest: SelfTest

    private struct Version: Decodable {
        let schemaVersion: Int
    }

    private static let supportedVersion = 2
    private static let runtime = "onnxruntime"
    private static let maxSide = 4096
    private static let maxUpscale = 64

    /// Parses and checks a manifest; throws `ElirError`.
    public static func parse(_ data: Data) throws -> Manifest {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            let version = try decoder.decode(Version.self, from: data).schemaVersion
            guard version == supportedVersion else {
                throw ElirError(
                    "\(file) has another schema version; got \(version); expected \(supportedVersion); "
                        + "fix: export again with the version of elir-edge that this app is of")
            }
            let manifest = try decoder.decode(Manifest.self, from: data)
            try manifest.check()
            return manifest
        } catch let error as DecodingError {
            throw ElirError("\(file) is malformed (\(Self.words(error))); fix: export again")
        }
    }

    private static func words(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): return "no \(key.stringValue)"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return context.codingPath.map(\.stringValue).joined(separator: ".") + ": " + context.debugDescription
        @unknown default: return "unknown"
        }
    }

    public var input: Tensor { inputs[0] }
    public var output: Tensor { outputs[0] }

    /// Path of the file that ONNX Runtime loads.
    public var artifact: String {
        if let named = target.runtimes?[Self.runtime] { return named }
        return files.first { $0.role == "artifact" }?.path ?? ""
    }

    private func check() throws {
        for path in files.map(\.path) + [artifact, selfTest.input, selfTest.expected] {
            guard !path.hasPrefix("/"), !path.split(separator: "/").contains("..") else {
                throw ElirError("\(Self.file) names a file outside the bundle; got \(path); fix: export again")
            }
        }
        guard target.runtimes?[Self.runtime] != nil || target.backend == Self.runtime else {
            throw ElirError(
                "the bundle is for \(target.backend); expected one for \(Self.runtime); fix: make export TARGET=onnx")
        }
        guard !inputs.contains(where: { $0.role == "noise" }) else {
            throw ElirError("the bundle takes its noise as an input; fix: export with NOISE=constant")
        }
        guard inputs.count == 1, outputs.count == 1 else {
            throw ElirError("\(Self.file) names \(inputs.count) inputs; expected 1; fix: export again")
        }
        for tensor in inputs + outputs {
            let shape = tensor.shape
            guard tensor.layout == "NCHW", tensor.dtype == "float32", shape.count == 4, shape[1] == 3,
                  shape[2] == shape[3], (1...Self.maxSide).contains(shape[2]), (1...Self.maxSide).contains(shape[0]),
                  tensor.high > tensor.low
            else {
                throw ElirError(
                    "\(Self.file) describes \(tensor.name) in a form that this app does not know; got \(tensor.dtype) "
                        + "\(shape) \(tensor.layout); expected float32, NCHW, a square; fix: make export TARGET=onnx")
            }
        }
        let lays = (1...Self.maxUpscale).contains(processing.upscale) && input.size % processing.upscale == 0
            && (!processing.tiled || (0...max(0, input.size - 2 * processing.upscale)).contains(processing.overlap))
        guard lays, output.size == input.size, input.size > 2 * processing.upscale else {
            throw ElirError(
                "the manifest asks for tiles that cannot be laid; got upscale \(processing.upscale), overlap "
                    + "\(processing.overlap); fix: export again with a larger size")
        }
    }
}
