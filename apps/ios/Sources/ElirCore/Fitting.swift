import Foundation

/// How an image of any size meets a graph of one fixed size (elir_edge/runtime/fitting.py).
public struct Fitting {
    private static let nearSquare = 1.25
    /// Input pixels around a region that its enlargement may depend on.
    private static let filterReach = 4

    private let processing: Manifest.Processing
    private let size: Int

    /// `size`: side of the graph's square input, in pixels.
    public init(_ processing: Manifest.Processing, size: Int) {
        self.processing = processing
        self.size = size
    }

    /// Restores an image by runs of the graph; the result is `upscale` times as large.
    ///
    /// - Parameters:
    ///   - run: the graph, (size, size) to the same.
    ///   - progress: gets tiles done and in all, from 0; what it throws stops the work.
    /// - Throws: `ElirError` for a picture far from square, where all of it has to be in view.
    public func restore(
        _ image: PixelImage, run: (FloatImage) throws -> FloatImage, progress: (Int, Int) throws -> Void
    ) throws -> PixelImage {
        let scale = processing.upscale
        var result = PixelImage(width: image.width * scale, height: image.height * scale)
        for y in 0..<result.height {
            for x in 0..<result.width {
                // The transparency of the nearest pixel of the photo.
                result.bytes[(y * result.width + x) * 4 + 3] = image.bytes[((y / scale) * image.width + x / scale) * 4 + 3]
            }
        }
        if processing.tiled {
            try restoreTiles(image, &result, run, progress)
        } else {
            try restoreWhole(image, &result, run, progress)
        }
        return result
    }

    private func restoreTiles(
        _ image: PixelImage, _ result: inout PixelImage, _ run: (FloatImage) throws -> FloatImage,
        _ progress: (Int, Int) throws -> Void
    ) throws {
        let scale = processing.upscale
        let tile = size / scale
        let overlap = (processing.overlap + scale - 1) / scale
        let width = max(image.width, tile)
        let height = max(image.height, tile)
        let rows = TileAxis(length: height, tile: tile, overlap: overlap)
        let columns = TileAxis(length: width, tile: tile, overlap: overlap)
        let total = rows.starts.count * columns.starts.count
        var done = 0
        try progress(done, total)
        try blendTiles(rows: rows, columns: columns, width: width, scale: scale) { top, left in
            let restored = try run(enlarged(image, top, left, height, width))
            done += 1
            try progress(done, total)
            return restored
        } emit: { y, values in
            result.putRow(y, values)
        }
    }

    /// The tile at (top, left), enlarged as if the whole image had been.
    private func enlarged(_ image: PixelImage, _ top: Int, _ left: Int, _ height: Int, _ width: Int) -> FloatImage {
        let scale = processing.upscale
        let tile = size / scale
        if scale == 1 { return image.region(top: top, left: left, height: tile, width: tile) }
        let above = min(top, Self.filterReach)
        let before = min(left, Self.filterReach)
        let bottom = min(height, top + tile + Self.filterReach)
        let right = min(width, left + tile + Self.filterReach)
        let region = image.region(
            top: top - above, left: left - before, height: bottom - top + above, width: right - left + before)
        let large = region.resized(
            width: region.width * scale, height: region.height * scale, bicubic: processing.bicubic)
        var part = FloatImage(width: size, height: size)
        for y in 0..<size {
            let from = ((y + above * scale) * large.width + before * scale) * 3
            part.values.replaceSubrange((y * size * 3)..<((y + 1) * size * 3), with: large.values[from..<(from + size * 3)])
        }
        return part
    }

    /// Fits the longer side to the graph, fills the rest by reflection, restores, sizes back.
    private func restoreWhole(
        _ image: PixelImage, _ result: inout PixelImage, _ run: (FloatImage) throws -> FloatImage,
        _ progress: (Int, Int) throws -> Void
    ) throws {
        let longer = max(image.width, image.height)
        guard Double(longer) <= Self.nearSquare * Double(min(image.width, image.height)) else {
            throw ElirError(
                "a picture of \(image.width) x \(image.height) is not an aligned face, which this model needs; expected "
                    + "sides in a ratio of at most \(Self.nearSquare); fix: crop it to the face")
        }
        try progress(0, 1)
        let factor = Double(size) / Double(longer)
        func fitted(_ side: Int) -> Int { min(size, max(1, Int((Double(side) * factor).rounded(.toNearestOrEven)))) }
        let width = fitted(image.width)
        let height = fitted(image.height)
        let small = image.region(top: 0, left: 0, height: image.height, width: image.width)
            .resized(width: width, height: height, bicubic: true)
        var square = FloatImage(width: size, height: size)
        for y in 0..<size {
            for x in 0..<size {
                let from = (mirrored(y, height) * width + mirrored(x, width)) * 3
                for c in 0..<3 { square.values[(y * size + x) * 3 + c] = small.values[from + c] }
            }
        }
        let restored = try run(square)
        var part = FloatImage(width: width, height: height)
        for y in 0..<height {
            let from = y * size * 3
            part.values.replaceSubrange((y * width * 3)..<((y + 1) * width * 3), with: restored.values[from..<(from + width * 3)])
        }
        try progress(1, 1)
        let sized = part.resized(width: result.width, height: result.height, bicubic: true)
        for y in 0..<result.height {
            result.putRow(y, Array(sized.values[(y * result.width * 3)..<((y + 1) * result.width * 3)]))
        }
    }
}
