import Foundation

/// Red, green, blue in [0, 1], row by row, channels last.
public struct FloatImage {
    public let width: Int
    public let height: Int
    public var values: [Float]

    public init(width: Int, height: Int, values: [Float]? = nil) {
        self.width = width
        self.height = height
        self.values = values ?? [Float](repeating: 0, count: width * height * 3)
    }
}

/// Red, green, blue, alpha (not premultiplied), 8 bits each, row by row.
public struct PixelImage {
    public let width: Int
    public let height: Int
    public var bytes: [UInt8]

    public init(width: Int, height: Int, bytes: [UInt8]? = nil) {
        self.width = width
        self.height = height
        self.bytes = bytes ?? [UInt8](repeating: 255, count: width * height * 4)
    }

    /// A part of the image, which goes on mirrored at the bottom and the right, as floats.
    public func region(top: Int, left: Int, height: Int, width: Int) -> FloatImage {
        var part = FloatImage(width: width, height: height)
        for y in 0..<height {
            let row = mirrored(top + y, self.height) * self.width
            for x in 0..<width {
                let from = (row + mirrored(left + x, self.width)) * 4
                for c in 0..<3 { part.values[(y * width + x) * 3 + c] = Float(bytes[from + c]) / 255 }
            }
        }
        return part
    }

    /// Writes a row of floats, rounded; rows below the image are left out.
    mutating func putRow(_ y: Int, _ values: [Float]) {
        guard y < height else { return }
        for x in 0..<width {
            for c in 0..<3 {
                let value = min(max(values[x * 3 + c], 0), 1) * 255
                bytes[(y * width + x) * 4 + c] = UInt8(value.rounded(.toNearestOrEven))
            }
        }
    }
}

/// The place of pixel `i` in `length` pixels that go on mirrored without end.
func mirrored(_ i: Int, _ length: Int) -> Int {
    let place = i % (2 * length)
    return place < length ? place : 2 * length - 1 - place
}

private func kernel(_ x: Double) -> Double {
    let a = -0.5
    let d = abs(x)
    if d < 1 { return ((a + 2) * d - (a + 3)) * d * d + 1 }
    if d < 2 { return (((d - 5) * d + 8) * d - 4) * a }
    return 0
}

/// Weights of Pillow's bicubic resampling: the kernel is widened where the image is reduced.
private func planTaps(_ length: Int, _ newLength: Int) -> [(first: Int, weights: [Double])] {
    let scale = Double(length) / Double(newLength)
    let widened = max(scale, 1)
    return (0..<newLength).map { i in
        let center = (Double(i) + 0.5) * scale
        let first = max(0, Int(center - 2 * widened + 0.5))
        let end = min(length, Int(center + 2 * widened + 0.5))
        let weights = (first..<end).map { kernel((Double($0) - center + 0.5) / widened) }
        let total = weights.reduce(0, +)
        return (first, total == 0 ? weights : weights.map { $0 / total })
    }
}

extension FloatImage {
    private func resampledAcross(_ newWidth: Int) -> FloatImage {
        guard newWidth != width else { return self }
        let taps = planTaps(width, newWidth)
        var result = FloatImage(width: newWidth, height: height)
        for y in 0..<height {
            for x in 0..<newWidth {
                for c in 0..<3 {
                    var sum = 0.0
                    for (k, weight) in taps[x].weights.enumerated() {
                        sum += Double(values[(y * width + taps[x].first + k) * 3 + c]) * weight
                    }
                    result.values[(y * newWidth + x) * 3 + c] = Float(sum)
                }
            }
        }
        return result
    }

    private func resampledDown(_ newHeight: Int) -> FloatImage {
        guard newHeight != height else { return self }
        let taps = planTaps(height, newHeight)
        var result = FloatImage(width: width, height: newHeight)
        let row = width * 3
        for y in 0..<newHeight {
            for k in 0..<row {
                var sum = 0.0
                for (t, weight) in taps[y].weights.enumerated() {
                    sum += Double(values[(taps[y].first + t) * row + k]) * weight
                }
                result.values[y * row + k] = Float(sum)
            }
        }
        return result
    }

    /// Pillow's `resize` of floats, bicubic or to the nearest pixel, then cut off to [0, 1].
    public func resized(width newWidth: Int, height newHeight: Int, bicubic: Bool) -> FloatImage {
        var result: FloatImage
        if bicubic {
            result = resampledAcross(newWidth).resampledDown(newHeight)
        } else {
            result = FloatImage(width: newWidth, height: newHeight)
            for y in 0..<newHeight {
                let row = Int((Double(y) + 0.5) * Double(height) / Double(newHeight)) * width
                for x in 0..<newWidth {
                    let from = (row + Int((Double(x) + 0.5) * Double(width) / Double(newWidth))) * 3
                    for c in 0..<3 { result.values[(y * newWidth + x) * 3 + c] = values[from + c] }
                }
            }
        }
        for i in result.values.indices { result.values[i] = min(max(result.values[i], 0), 1) }
        return result
    }
}

/// Peak signal-to-noise ratio in dB of two images in [0, 1]; infinite for equal ones, NaN for two sizes.
public func psnr(_ one: FloatImage, _ other: FloatImage) -> Double {
    guard one.values.count == other.values.count else { return .nan }
    let sum = zip(one.values, other.values).reduce(0.0) { $0 + pow(Double($1.0 - $1.1), 2) }
    return sum == 0 ? .infinity : -10 * log10(sum / Double(one.values.count))
}
