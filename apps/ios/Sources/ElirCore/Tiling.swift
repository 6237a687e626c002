import Foundation

/// The tiles along one axis (elir_edge/runtime/tiling.py).
public struct TileAxis {
    /// First pixel of each tile, ascending, evenly spread; the last tile ends at the end.
    public let starts: [Int]
    /// Per tile; at every pixel the weights of all tiles over it add up to 1.
    public let weights: [[Float]]

    /// Covers `length >= tile` pixels by tiles that share at least `overlap`; neighbours are cross-faded linearly.
    public init(length: Int, tile: Int, overlap: Int) {
        let needed = (Double(length - overlap) / Double(tile - overlap)).rounded(.up)
        let count = length <= tile ? 1 : max(1, Int(needed))
        let starts = (0..<count).map { i in
            // Halves go to the even neighbour, as Python rounds.
            Int((Double(i * (length - tile)) / Double(max(1, count - 1))).rounded(.toNearestOrEven))
        }
        var total = [Double](repeating: 0, count: length)
        var ramps: [[Double]] = []
        for i in 0..<count {
            var ramp = [Double](repeating: 1, count: tile)
            if i > 0 {
                let shared = starts[i - 1] + tile - starts[i]
                for k in 0..<max(0, shared) { ramp[k] = (Double(k) + 0.5) / Double(shared) }
            }
            if i + 1 < count {
                let shared = starts[i] + tile - starts[i + 1]
                for k in 0..<max(0, shared) { ramp[tile - shared + k] *= (Double(shared - 1 - k) + 0.5) / Double(shared) }
            }
            for k in 0..<tile { total[starts[i] + k] += ramp[k] }
            ramps.append(ramp)
        }
        self.starts = starts
        weights = (0..<count).map { i in (0..<tile).map { Float(ramps[i][$0] / total[starts[i] + $0]) } }
    }
}

/// Runs every tile and hands out finished rows from top to bottom. One row of tiles is held at a time.
///
/// - Parameters:
///   - width: of the image, in input pixels.
///   - scale: output pixels per input pixel.
///   - runTile: (top, left) in input pixels to the tile's output, `tile * scale` squared.
///   - emit: (row, values) for each finished output row, of `width * scale * 3` values.
public func blendTiles(
    rows: TileAxis, columns: TileAxis, width: Int, scale: Int,
    runTile: (Int, Int) throws -> FloatImage, emit: (Int, [Float]) -> Void
) rethrows {
    let tile = rows.weights[0].count * scale
    let rowLength = width * scale * 3
    // Where tiles overlap much, a thousand of them add up at a pixel: in floats that shows.
    var band = [Double](repeating: 0, count: tile * rowLength)
    for (i, top) in rows.starts.enumerated() {
        for (j, left) in columns.starts.enumerated() {
            let values = try runTile(top, left).values
            band.withUnsafeMutableBufferPointer { band in
                values.withUnsafeBufferPointer { values in
                    for y in 0..<tile {
                        let rowWeight = rows.weights[i][y / scale]
                        var to = y * rowLength + left * scale * 3
                        var from = y * tile * 3
                        for x in 0..<tile {
                            let columnWeight = columns.weights[j][x / scale]
                            for _ in 0..<3 {
                                band[to] += Double(values[from] * rowWeight * columnWeight)
                                to += 1
                                from += 1
                            }
                        }
                    }
                }
            }
        }
        let finished = i + 1 < rows.starts.count ? (rows.starts[i + 1] - top) * scale : tile
        for y in 0..<finished {
            emit(top * scale + y, band[(y * rowLength)..<((y + 1) * rowLength)].map(Float.init))
        }
        band.removeFirst(finished * rowLength)
        band.append(contentsOf: repeatElement(0, count: finished * rowLength))
    }
}
