import Foundation

extension FloatImage {
    /// The image as the artifact's planes (NCHW, float32): every image of the batch is the same one.
    public func tensor(_ spec: Manifest.Tensor) -> [Float] {
        let plane = spec.size * spec.size
        let span = spec.high - spec.low
        var one = [Float](repeating: 0, count: 3 * plane)
        for i in 0..<plane {
            for c in 0..<3 { one[c * plane + i] = values[i * 3 + c] * span + spec.low }
        }
        return Array(repeatElement(one, count: spec.batch).joined())
    }

    /// The first image of the artifact's output; throws `ElirError` for another size or values that are not finite.
    public init(tensor: [Float], _ spec: Manifest.Tensor) throws {
        let plane = spec.size * spec.size
        guard tensor.count == spec.batch * 3 * plane else {
            throw ElirError("the model's output is not as the manifest says; got \(tensor.count) values; fix: export again")
        }
        self.init(width: spec.size, height: spec.size)
        let span = spec.high - spec.low
        for i in 0..<plane {
            for c in 0..<3 {
                let value = tensor[c * plane + i]
                guard value.isFinite else {
                    throw ElirError("the model gave values that are not finite; fix: choose the CPU")
                }
                values[i * 3 + c] = min(max((value - spec.low) / span, 0), 1)
            }
        }
    }
}
