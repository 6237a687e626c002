package org.elir.edge

import kotlin.math.max
import kotlin.math.min

/**
 * How an image of any size meets a graph of one fixed size (elir_edge/runtime/fitting.py).
 *
 * @property size side of the graph's square input, in pixels.
 */
class Fitting(private val processing: Processing, private val size: Int) {
    /**
     * Restores an image by runs of the graph; the result is `upscale` times as large.
     *
     * @param run the graph: (size, size) to the same.
     * @param progress gets tiles done and in all, from 0; false stops the work.
     * @throws ElirException far from square, where the whole picture has to be in view.
     * @throws CancelledException when [progress] said so.
     */
    fun restore(image: ArgbImage, run: (FloatImage) -> FloatImage, progress: (Int, Int) -> Boolean): ArgbImage {
        val result = ArgbImage(image.width * processing.upscale, image.height * processing.upscale)
        if (processing.tiled) restoreTiles(image, result, run, progress) else restoreWhole(image, result, run, progress)
        return result
    }

    private fun restoreTiles(image: ArgbImage, result: ArgbImage, run: (FloatImage) -> FloatImage, progress: (Int, Int) -> Boolean) {
        val scale = processing.upscale
        val tile = size / scale
        val overlap = (processing.overlap + scale - 1) / scale
        val width = max(image.width, tile)
        val height = max(image.height, tile)
        val rows = planAxis(height, tile, overlap)
        val columns = planAxis(width, tile, overlap)
        val total = rows.starts.size * columns.starts.size
        var done = 0
        fun tell() {
            if (!progress(done, total)) throw CancelledException()
        }
        tell()
        blendTiles(rows, columns, width, scale, { top, left ->
            run(enlarged(image, top, left, height, width)).also {
                done++
                tell()
            }
        }, { y, values -> result.putRow(y, values) { x -> alpha(image, y, x) } })
    }

    /** The tile at (top, left), enlarged as if the whole image had been. */
    private fun enlarged(image: ArgbImage, top: Int, left: Int, height: Int, width: Int): FloatImage {
        val scale = processing.upscale
        val tile = size / scale
        if (scale == 1) return image.region(top, left, tile, tile)
        val above = min(top, FILTER_REACH)
        val before = min(left, FILTER_REACH)
        val bottom = min(height, top + tile + FILTER_REACH)
        val right = min(width, left + tile + FILTER_REACH)
        val region = image.region(top - above, left - before, bottom - top + above, right - left + before)
        val large = region.resized(region.width * scale, region.height * scale, processing.bicubic)
        val part = FloatImage(size, size)
        for (y in 0 until size) {
            val from = ((y + above * scale) * large.width + before * scale) * 3
            large.values.copyInto(part.values, y * size * 3, from, from + size * 3)
        }
        return part
    }

    /** Fits the longer side to the graph, fills the rest by reflection, restores, sizes back. */
    private fun restoreWhole(image: ArgbImage, result: ArgbImage, run: (FloatImage) -> FloatImage, progress: (Int, Int) -> Boolean) {
        val longer = max(image.width, image.height)
        if (longer > NEAR_SQUARE * min(image.width, image.height)) {
            throw ElirException(
                "a picture of ${image.width} x ${image.height} is not an aligned face, which this model needs; " +
                    "expected sides in a ratio of at most $NEAR_SQUARE; fix: crop it to the face",
            )
        }
        if (!progress(0, 1)) throw CancelledException()
        fun fitted(side: Int) = min(size, max(1, Math.rint(side * (size.toDouble() / longer)).toInt()))
        val width = fitted(image.width)
        val height = fitted(image.height)
        val small = image.region(0, 0, image.height, image.width).resized(width, height, bicubic = true)
        val square = FloatImage(size, size)
        for (y in 0 until size) for (x in 0 until size) {
            val from = (mirrored(y, height) * width + mirrored(x, width)) * 3
            small.values.copyInto(square.values, (y * size + x) * 3, from, from + 3)
        }
        val restored = run(square)
        val part = FloatImage(width, height)
        for (y in 0 until height) restored.values.copyInto(part.values, y * width * 3, y * size * 3, (y * size + width) * 3)
        if (!progress(1, 1)) throw CancelledException()
        val sized = part.resized(result.width, result.height, bicubic = true)
        for (y in 0 until result.height) {
            val row = sized.values.copyOfRange(y * result.width * 3, (y + 1) * result.width * 3)
            result.putRow(y, row) { x -> alpha(image, y, x) }
        }
    }

    /** The transparency of the nearest pixel of the photo. */
    private fun alpha(image: ArgbImage, y: Int, x: Int): Int =
        image.pixels[(y / processing.upscale) * image.width + x / processing.upscale] ushr 24

    private companion object {
        const val NEAR_SQUARE = 1.25
        const val FILTER_REACH = 4 // input pixels around a region that its enlargement may depend on
    }
}
