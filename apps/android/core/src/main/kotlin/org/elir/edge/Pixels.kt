package org.elir.edge

import kotlin.math.abs
import kotlin.math.log10
import kotlin.math.max
import kotlin.math.min

/** Red, green, blue in [0, 1], row by row, channels last. */
class FloatImage(val width: Int, val height: Int, val values: FloatArray = FloatArray(width * height * 3))

/** Pixels as Android's bitmaps hold them: 0xAARRGGBB, row by row. */
class ArgbImage(val width: Int, val height: Int, val pixels: IntArray = IntArray(width * height))

/** The place of pixel [i] in [length] pixels that go on mirrored without end. */
fun mirrored(i: Int, length: Int): Int {
    val place = i % (2 * length)
    return if (place < length) place else 2 * length - 1 - place
}

/** A part of an image that goes on mirrored at the bottom and the right, as floats. */
fun ArgbImage.region(top: Int, left: Int, height: Int, width: Int): FloatImage {
    val region = FloatImage(width, height)
    for (y in 0 until height) {
        val row = mirrored(top + y, this.height) * this.width
        for (x in 0 until width) {
            val pixel = pixels[row + mirrored(left + x, this.width)]
            val at = (y * width + x) * 3
            region.values[at] = (pixel shr 16 and 0xFF) / 255f
            region.values[at + 1] = (pixel shr 8 and 0xFF) / 255f
            region.values[at + 2] = (pixel and 0xFF) / 255f
        }
    }
    return region
}

/** Writes a row of floats, rounded; rows below the image are left out, the alpha of [alpha] is kept. */
fun ArgbImage.putRow(y: Int, values: FloatArray, alpha: (Int) -> Int) {
    if (y >= height) return
    for (x in 0 until width) {
        val (red, green, blue) = List(3) { Math.rint((values[x * 3 + it].coerceIn(0f, 1f) * 255f).toDouble()).toInt() }
        pixels[y * width + x] = (alpha(x) shl 24) or (red shl 16) or (green shl 8) or blue
    }
}

private fun kernel(x: Double): Double {
    val a = -0.5
    val d = abs(x)
    return when {
        d < 1 -> ((a + 2) * d - (a + 3)) * d * d + 1
        d < 2 -> (((d - 5) * d + 8) * d - 4) * a
        else -> 0.0
    }
}

private class Taps(val first: Int, val weights: DoubleArray)

/** Weights of Pillow's bicubic resampling: the kernel is widened where the image is reduced. */
private fun planTaps(length: Int, newLength: Int): List<Taps> {
    val scale = length.toDouble() / newLength
    val widened = max(scale, 1.0)
    return List(newLength) { i ->
        val center = (i + 0.5) * scale
        val first = max(0, (center - 2 * widened + 0.5).toInt())
        val end = min(length, (center + 2 * widened + 0.5).toInt())
        val weights = DoubleArray(end - first) { kernel((first + it - center + 0.5) / widened) }
        val total = weights.sum()
        Taps(first, DoubleArray(weights.size) { if (total != 0.0) weights[it] / total else weights[it] })
    }
}

private fun resampleAcross(image: FloatImage, newWidth: Int): FloatImage {
    if (newWidth == image.width) return image
    val taps = planTaps(image.width, newWidth)
    val result = FloatImage(newWidth, image.height)
    for (y in 0 until image.height) for (x in 0 until newWidth) for (c in 0 until 3) {
        var sum = 0.0
        taps[x].weights.forEachIndexed { k, weight -> sum += image.values[(y * image.width + taps[x].first + k) * 3 + c] * weight }
        result.values[(y * newWidth + x) * 3 + c] = sum.toFloat()
    }
    return result
}

private fun resampleDown(image: FloatImage, newHeight: Int): FloatImage {
    if (newHeight == image.height) return image
    val taps = planTaps(image.height, newHeight)
    val result = FloatImage(image.width, newHeight)
    val row = image.width * 3
    for (y in 0 until newHeight) for (k in 0 until row) {
        var sum = 0.0
        taps[y].weights.forEachIndexed { t, weight -> sum += image.values[(taps[y].first + t) * row + k] * weight }
        result.values[y * row + k] = sum.toFloat()
    }
    return result
}

/** Pillow's `resize` of floats, bicubic or to the nearest pixel, then cut off to [0, 1]. */
fun FloatImage.resized(newWidth: Int, newHeight: Int, bicubic: Boolean): FloatImage {
    val result = if (bicubic) {
        resampleDown(resampleAcross(this, newWidth), newHeight)
    } else {
        FloatImage(newWidth, newHeight).also { to ->
            for (y in 0 until newHeight) for (x in 0 until newWidth) {
                val row = ((y + 0.5) * height / newHeight).toInt()
                val column = ((x + 0.5) * width / newWidth).toInt()
                values.copyInto(to.values, (y * newWidth + x) * 3, (row * width + column) * 3, (row * width + column) * 3 + 3)
            }
        }
    }
    return FloatImage(newWidth, newHeight, FloatArray(result.values.size) { result.values[it].coerceIn(0f, 1f) })
}

/** Peak signal-to-noise ratio in dB of two images in [0, 1]; infinite for equal ones. */
fun psnr(one: FloatImage, other: FloatImage): Double {
    require(one.values.size == other.values.size) { "images of two sizes" }
    var sum = 0.0
    one.values.forEachIndexed { i, value -> (value - other.values[i]).toDouble().let { sum += it * it } }
    return if (sum == 0.0) Double.POSITIVE_INFINITY else -10 * log10(sum / one.values.size)
}
