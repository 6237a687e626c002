package org.elir.edge

import kotlin.math.ceil
import kotlin.math.max

/**
 * The tiles along one axis (elir_edge/runtime/tiling.py).
 *
 * @property starts first pixel of each tile, ascending, evenly spread; the last tile ends at the end.
 * @property weights per tile; at every pixel the weights of all tiles over it add up to 1.
 */
class TileAxis(val starts: IntArray, val weights: List<FloatArray>)

/** Covers [length] >= [tile] pixels by tiles that share at least [overlap]; neighbours are cross-faded linearly. */
fun planAxis(length: Int, tile: Int, overlap: Int): TileAxis {
    val count = if (length <= tile) 1 else max(1, ceil((length - overlap).toDouble() / (tile - overlap)).toInt())
    // Math.rint takes halves to the even neighbour, as Python rounds.
    val starts = IntArray(count) { Math.rint(it.toLong() * (length - tile) / max(1, count - 1).toDouble()).toInt() }
    val ramps = List(count) { i ->
        DoubleArray(tile) { 1.0 }.also { ramp ->
            if (i > 0) {
                val shared = starts[i - 1] + tile - starts[i]
                for (k in 0 until shared) ramp[k] = (k + 0.5) / shared
            }
            if (i + 1 < count) {
                val shared = starts[i] + tile - starts[i + 1]
                for (k in 0 until shared) ramp[tile - shared + k] *= (shared - 1 - k + 0.5) / shared
            }
        }
    }
    val total = DoubleArray(length)
    ramps.forEachIndexed { i, ramp -> ramp.forEachIndexed { k, value -> total[starts[i] + k] += value } }
    return TileAxis(starts, ramps.mapIndexed { i, ramp -> FloatArray(tile) { (ramp[it] / total[starts[i] + it]).toFloat() } })
}

/**
 * Runs every tile and hands out finished rows from top to bottom. One row of tiles is held at a time.
 *
 * @param width of the image, in input pixels.
 * @param scale output pixels per input pixel.
 * @param runTile (top, left) in input pixels to the tile's output, tile * scale squared.
 * @param emit (row, values) for each finished output row, of width * scale * 3 values.
 */
fun blendTiles(
    rows: TileAxis,
    columns: TileAxis,
    width: Int,
    scale: Int,
    runTile: (Int, Int) -> FloatImage,
    emit: (Int, FloatArray) -> Unit,
) {
    val tile = rows.weights.first().size * scale
    val rowLength = width * scale * 3
    // Where tiles overlap much, a thousand of them add up at a pixel: in floats that shows.
    val band = Array(tile) { DoubleArray(rowLength) }
    val row = FloatArray(rowLength)
    rows.starts.forEachIndexed { i, top ->
        columns.starts.forEachIndexed { j, left ->
            val values = runTile(top, left).values
            for (y in 0 until tile) {
                val rowWeight = rows.weights[i][y / scale]
                val to = band[y]
                for (x in 0 until tile) {
                    val columnWeight = columns.weights[j][x / scale]
                    for (c in 0 until 3) {
                        to[(left * scale + x) * 3 + c] += (values[(y * tile + x) * 3 + c] * rowWeight * columnWeight).toDouble()
                    }
                }
            }
        }
        val finished = if (i + 1 < rows.starts.size) (rows.starts[i + 1] - top) * scale else tile
        for (y in 0 until finished) {
            for (k in row.indices) row[k] = band[y][k].toFloat()
            emit(top * scale + y, row)
        }
        // Finished rows become the empty ones at the bottom.
        val free = band.take(finished)
        free.forEach { it.fill(0.0) }
        for (y in finished until tile) band[y - finished] = band[y]
        free.forEachIndexed { k, empty -> band[tile - finished + k] = empty }
    }
}
