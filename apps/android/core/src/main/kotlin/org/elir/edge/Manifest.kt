package org.elir.edge

import org.json.JSONException
import org.json.JSONObject

/** A file of the bundle, with the hash that it had when it was exported. */
data class FileEntry(val path: String, val bytes: Long, val sha256: String)

/** The image at the input or output: NHWC, float32 in [[low], [high]] or uint8. */
data class TensorSpec(
    val name: String,
    val size: Int,
    val batch: Int,
    val bytes: Boolean,
    val low: Float,
    val high: Float,
)

/** How an image of any size meets the fixed graph (`processing` of the manifest). */
data class Processing(
    val tiled: Boolean,
    val overlap: Int,
    val upscale: Int,
    val bicubic: Boolean,
)

/** The part of a bundle's `manifest.json` that an application needs. */
data class Manifest(
    val name: String,
    val task: String,
    val artifact: String,
    val files: List<FileEntry>,
    val input: TensorSpec,
    val output: TensorSpec,
    val processing: Processing,
    val selfTestInput: String,
    val selfTestExpected: String,
    val minPsnr: Double,
) {
    companion object {
        const val FILE = "manifest.json"
        private const val SCHEMA_VERSION = 2
        private const val MAX_SIDE = 4096
        private const val MAX_UPSCALE = 64
        private const val RUNTIME = "litert"

        /**
         * Parses a manifest.
         *
         * @throws ElirException not JSON, of another schema version, or a bundle that this program cannot run.
         */
        fun parse(text: String): Manifest =
            try {
                read(JSONObject(text))
            } catch (error: JSONException) {
                throw ElirException("$FILE is malformed (${error.message}); fix: export again", error)
            }

        private fun read(root: JSONObject): Manifest {
            val version = root.optInt("schema_version")
            if (version != SCHEMA_VERSION) {
                throw ElirException(
                    "$FILE has another schema version; got $version; expected $SCHEMA_VERSION; " +
                        "fix: export again with the version of elir-edge that this app is of",
                )
            }
            val identity = root.getJSONObject("identity")
            val test = root.getJSONObject("self_test")
            val files = objects(root, "files")
            val input = image(root, "inputs")
            val output = image(root, "outputs")
            val processing = processing(root.getJSONObject("processing"), input.size)
            if (output.size != input.size) {
                throw ElirException("$FILE describes another size at the output; fix: export again")
            }
            return Manifest(
                name = identity.getString("name"),
                task = identity.getString("task"),
                artifact = artifact(root.getJSONObject("target"), files),
                files = files.map { FileEntry(inside(it.getString("path")), it.getLong("bytes"), it.getString("sha256")) },
                input = input,
                output = output,
                processing = processing,
                selfTestInput = inside(test.getString("input")),
                selfTestExpected = inside(test.getString("expected")),
                minPsnr = test.getDouble("min_psnr"),
            )
        }

        private fun objects(root: JSONObject, key: String): List<JSONObject> {
            val array = root.getJSONArray(key)
            return (0 until array.length()).map { array.getJSONObject(it) }
        }

        private fun inside(path: String): String {
            if (path.startsWith("/") || path.split('/').contains("..")) {
                throw ElirException("$FILE names a file outside the bundle; got $path; fix: export again")
            }
            return path
        }

        private fun artifact(target: JSONObject, files: List<JSONObject>): String {
            val named = target.optJSONObject("runtimes")?.optString(RUNTIME).orEmpty()
            if (named.isNotEmpty()) return inside(named)
            val backend = target.getString("backend")
            if (backend != RUNTIME) {
                throw ElirException("the bundle is for $backend; expected one for $RUNTIME; fix: make export TARGET=tflite")
            }
            val entry = files.firstOrNull { it.getString("role") == "artifact" }
                ?: throw ElirException("$FILE names no artifact; fix: export again")
            return inside(entry.getString("path"))
        }

        private fun image(root: JSONObject, key: String): TensorSpec {
            val tensors = objects(root, key)
            if (tensors.any { it.getString("role") != "image" }) {
                throw ElirException("the bundle takes its noise as an input; fix: export with NOISE=constant")
            }
            val one = tensors.singleOrNull()
                ?: throw ElirException("$FILE names ${tensors.size} images at the $key; expected 1; fix: export again")
            val shape = one.getJSONArray("shape").let { array -> (0 until array.length()).map { array.getInt(it) } }
            val type = one.getString("dtype")
            val known = one.getString("layout") == "NHWC" && shape.size == 4 && shape[3] == 3 &&
                shape[1] == shape[2] && shape[1] in 1..MAX_SIDE && shape[0] in 1..MAX_SIDE &&
                (type == "float32" || type == "uint8") && one.getDouble("high") > one.getDouble("low")
            if (!known) {
                throw ElirException(
                    "$FILE describes ${one.getString("name")} in a form that this app does not know; " +
                        "got $type $shape ${one.getString("layout")}; expected float32 or uint8, NHWC, a square; " +
                        "fix: make export TARGET=tflite",
                )
            }
            return TensorSpec(
                name = one.getString("name"),
                size = shape[1],
                batch = shape[0],
                bytes = type == "uint8",
                low = one.getDouble("low").toFloat(),
                high = one.getDouble("high").toFloat(),
            )
        }

        private fun processing(value: JSONObject, size: Int): Processing {
            val found = Processing(
                tiled = value.getString("fit") == "tile",
                overlap = value.getInt("overlap"),
                upscale = value.getInt("upscale"),
                bicubic = value.getString("upscale_filter") == "bicubic",
            )
            val lays = found.upscale in 1..MAX_UPSCALE && size % found.upscale == 0 &&
                (!found.tiled || found.overlap in 0..size - 2 * found.upscale)
            if (!lays) {
                throw ElirException(
                    "the manifest asks for tiles that cannot be laid; got upscale ${found.upscale}, " +
                        "overlap ${found.overlap}; fix: export again with a larger size",
                )
            }
            return found
        }
    }
}
