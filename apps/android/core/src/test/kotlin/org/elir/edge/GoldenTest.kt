package org.elir.edge

import java.io.File
import java.util.Base64
import kotlin.math.abs
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Against Python's numbers: `tests/golden/apps.json`, made by `python -m tests.apps.golden`. */
class GoldenTest {
    private val golden = JSONObject(File(System.getProperty("elir.golden")).readText())

    private fun objects(parent: JSONObject, key: String) =
        parent.getJSONArray(key).let { array -> (0 until array.length()).map { array.getJSONObject(it) } }

    private fun image(width: Int, height: Int, base64: String): ArgbImage {
        val bytes = Base64.getDecoder().decode(base64)
        return ArgbImage(width, height, IntArray(width * height) { i ->
            val (r, g, b) = List(3) { bytes[3 * i + it].toInt() and 0xFF }
            (0xFF shl 24) or (r shl 16) or (g shl 8) or b
        })
    }

    /** 0.8 of the tile plus a slope across it, as in `tests/apps/golden.py`. */
    private fun network(tile: FloatImage): FloatImage {
        val size = tile.width
        return FloatImage(size, size, FloatArray(tile.values.size) {
            val slope = (it / 3 % size + 2f * (it / 3 / size)) / (3 * size).toFloat()
            (tile.values[it] * 0.8f + 0.2f * slope).coerceIn(0f, 1f)
        })
    }

    @Test
    fun tilesLieWherePythonLaysThem() {
        for (case in objects(golden, "axes")) {
            val axis = planAxis(case.getInt("length"), case.getInt("tile"), case.getInt("overlap"))
            val starts = case.getJSONArray("starts")
            assertArrayEquals(IntArray(starts.length()) { starts.getInt(it) }, axis.starts)
            axis.weights.forEachIndexed { i, weights ->
                val expected = case.getJSONArray("weights").getJSONArray(i)
                val floats = FloatArray(expected.length()) { expected.getDouble(it).toFloat() }
                assertArrayEquals(floats, weights, WEIGHT_TOLERANCE)
            }
        }
    }

    @Test
    fun imagesAreResizedAsPillowDoes() {
        val part = golden.getJSONObject("resize")
        val source = part.getJSONObject("image").let { image(it.getInt("width"), it.getInt("height"), it.getString("pixels")) }
        for (case in objects(part, "cases")) {
            val resized = source.region(0, 0, source.height, source.width)
                .resized(case.getInt("width"), case.getInt("height"), case.getString("method") == "bicubic")
            val expected = case.getJSONArray("values")
            assertArrayEquals(FloatArray(expected.length()) { expected.getDouble(it).toFloat() }, resized.values, WEIGHT_TOLERANCE)
        }
    }

    private fun restored(fit: JSONObject, change: (Processing) -> Processing = { it }): ArgbImage {
        val value = fit.getJSONObject("processing")
        val processing = Processing(
            tiled = value.getString("fit") == "tile",
            overlap = value.getInt("overlap"),
            upscale = value.getInt("upscale"),
            bicubic = value.getString("upscale_filter") == "bicubic",
        )
        val photo = image(fit.getInt("width"), fit.getInt("height"), fit.getString("pixels"))
        return Fitting(change(processing), fit.getInt("size")).restore(photo, ::network) { _, _ -> true }
    }

    /** The share of values that differ, having required that none does by more than one step. */
    private fun shareOfSteps(got: ArgbImage, fit: JSONObject): Double {
        val expected = image(got.width, got.height, fit.getString("restored"))
        var steps = 0
        for (i in got.pixels.indices) for (shift in listOf(0, 8, 16)) {
            val step = abs((got.pixels[i] shr shift and 0xFF) - (expected.pixels[i] shr shift and 0xFF))
            if (step > MAX_STEP) throw AssertionError("${fit.getString("name")}: differs by $step of 255 at $i")
            steps += step
        }
        return steps / (3.0 * got.pixels.size)
    }

    @Test
    fun restoredPixelsArePythons() {
        for (fit in objects(golden, "fits")) {
            val share = shareOfSteps(restored(fit), fit)
            assertTrue("${fit.getString("name")}: $share of the values differ", share <= MAX_SHARE)
        }
    }

    /** The twin of the test above. */
    @Test
    fun otherTilesAreNoticed() {
        val fit = objects(golden, "fits").first()
        assertThrows(AssertionError::class.java) {
            assertTrue(shareOfSteps(restored(fit) { it.copy(overlap = 16) }, fit) <= MAX_SHARE)
        }
    }

    @Test
    fun progressCountsTilesAndCanStop() {
        val fit = objects(golden, "fits").first()
        val photo = image(fit.getInt("width"), fit.getInt("height"), fit.getString("pixels"))
        val fitting = Fitting(Processing(tiled = true, overlap = 8, upscale = 1, bicubic = false), fit.getInt("size"))
        val told = mutableListOf<Pair<Int, Int>>()
        fitting.restore(photo, ::network) { done, total -> told.add(done to total) }
        assertEquals((0..6).map { it to 6 }, told)
        assertThrows(CancelledException::class.java) { fitting.restore(photo, ::network) { done, _ -> done < 2 } }
    }

    @Test
    fun transparencyIsKept() {
        val photo = ArgbImage(40, 33, IntArray(40 * 33) { (it % 256 shl 24) or 0x808080 })
        val fitting = Fitting(Processing(tiled = true, overlap = 8, upscale = 1, bicubic = false), 32)
        val restored = fitting.restore(photo, { it }) { _, _ -> true }
        assertArrayEquals(photo.pixels, restored.pixels)
    }

    @Test
    fun tensorsGoThereAndBack() {
        val picture = FloatImage(2, 2, FloatArray(12) { it / 255f })
        val bytes = TensorSpec("image", 2, 2, bytes = true, low = 0f, high = 255f)
        assertArrayEquals(ByteArray(24) { (it % 12).toByte() }, picture.toBytes(bytes))
        assertArrayEquals(picture.values, bytesToImage(picture.toBytes(bytes), bytes).values, WEIGHT_TOLERANCE)
        val floats = TensorSpec("image", 2, 1, bytes = false, low = -1f, high = 1f)
        assertArrayEquals(picture.values, floatsToImage(picture.toFloats(floats), floats).values, WEIGHT_TOLERANCE)
        assertThrows(ElirException::class.java) { floatsToImage(FloatArray(12) { Float.NaN }, floats) }
        assertThrows(ElirException::class.java) { floatsToImage(FloatArray(11), floats) }
    }

    @Test
    fun psnrOfOneStep() {
        val black = FloatImage(2, 2)
        assertEquals(48.13, psnr(black, FloatImage(2, 2, FloatArray(12) { 1 / 255f })), 0.01)
        assertEquals(Double.POSITIVE_INFINITY, psnr(black, black), 0.0)
    }

    private companion object {
        const val WEIGHT_TOLERANCE = 1e-6f
        const val MAX_STEP = 1 // of 255
        const val MAX_SHARE = 0.001
    }
}
