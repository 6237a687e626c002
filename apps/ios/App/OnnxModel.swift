import ElirCore
import Foundation
import OnnxRuntimeBindings

/// What the user may choose. Core ML takes what it can to the Neural Engine and the GPU.
enum Choice: String, CaseIterable, Identifiable {
    case auto = "Auto"
    case coreML = "Core ML"
    case cpu = "CPU"

    var id: String { rawValue }
    var accelerated: Bool { self != .cpu }
}

/// The bundle's model in ONNX Runtime.
final class OnnxModel {
    /// Of the bundle's own test image, in dB: half floats of the Neural Engine reach it.
    private static let leastPsnr = 35.0

    /// What runs it.
    let accelerator: String
    /// Why the faster one does not; nil where it does or was not asked for.
    let passedOver: String?

    private let manifest: Manifest
    private let session: ORTSession

    /// Opens the first runtime of a choice that loads the model and computes what the bundle recorded.
    static func open(_ bundle: BundleFolder, _ choice: Choice) throws -> OnnxModel {
        guard choice.accelerated else { return try OnnxModel(bundle, coreML: false, passedOver: nil).tested(bundle) }
        let reason: String
        do {
            return try OnnxModel(bundle, coreML: true, passedOver: nil).tested(bundle)
        } catch let error as ElirError {
            reason = error.line
        } catch let error as NSError where error.domain == "onnxruntime" {
            reason = error.localizedDescription
        }
        return try OnnxModel(bundle, coreML: false, passedOver: "Core ML: \(reason)").tested(bundle)
    }

    private init(_ bundle: BundleFolder, coreML: Bool, passedOver: String?) throws {
        manifest = bundle.manifest
        self.passedOver = passedOver
        accelerator = coreML ? "Core ML" : "CPU"
        let options = try ORTSessionOptions()
        if coreML {
            guard ORTIsCoreMLExecutionProviderAvailable() else {
                throw ElirError("this build of ONNX Runtime has no Core ML; fix: choose the CPU")
            }
            try options.appendCoreMLExecutionProvider(with: ORTCoreMLExecutionProviderOptions())
        }
        let env = try ORTEnv(loggingLevel: .error)
        let path = bundle.url(manifest.artifact).path
        session = try ORTSession(env: env, modelPath: path, sessionOptions: options)
    }

    private func tested(_ bundle: BundleFolder) throws -> OnnxModel {
        let got = try run(bundle.goldenImage(manifest.selfTest.input))
        let nearness = psnr(got, try bundle.goldenImage(manifest.selfTest.expected))
        guard nearness >= Self.leastPsnr else {
            let told = String(format: "%.1f", nearness)
            throw ElirError("\(accelerator) computes another image (\(told) dB to the recorded one); fix: export again")
        }
        return self
    }

    /// Runs the graph once: (size, size) to the same.
    func run(_ tile: FloatImage) throws -> FloatImage {
        let values = tile.tensor(manifest.input)
        let data = values.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress, length: $0.count) }
        let shape = manifest.input.shape.map { NSNumber(value: $0) }
        let input = try ORTValue(tensorData: data, elementType: .float, shape: shape)
        let name = manifest.output.name
        let outputs = try session.run(withInputs: [manifest.input.name: input], outputNames: [name], runOptions: nil)
        guard let output = outputs[name] else {
            throw ElirError("the model has no output \(name); fix: export again")
        }
        let bytes = try output.tensorData() as Data
        let floats = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        return try FloatImage(tensor: floats, manifest.output)
    }
}
