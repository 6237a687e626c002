package org.elir.edge.app

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import java.io.FileNotFoundException
import java.io.InputStream
import java.security.MessageDigest
import org.elir.edge.ArgbImage
import org.elir.edge.ElirException
import org.elir.edge.FloatImage
import org.elir.edge.Manifest
import org.elir.edge.region

/** The bundle that the app carries in its assets. */
class BundleAssets(val assets: AssetManager) {
    val manifest: Manifest = open(Manifest.FILE).use { Manifest.parse(it.readBytes().decodeToString()) }

    /** The asset's name of a file of the bundle. */
    fun nameOf(path: String) = "$FOLDER/$path"

    /**
     * Checks size and hash of every file that the app uses.
     *
     * @throws ElirException one is missing or altered.
     */
    fun check() {
        val used = setOf(manifest.artifact, manifest.selfTestInput, manifest.selfTestExpected)
        val entries = manifest.files.filter { it.path in used }
        (used - entries.map { it.path }.toSet()).firstOrNull()?.let {
            throw ElirException("the manifest does not list $it; fix: export again")
        }
        for (entry in entries) {
            val digest = MessageDigest.getInstance("SHA-256")
            var length = 0L
            open(entry.path).use { stream ->
                val part = ByteArray(1 shl 16)
                while (true) {
                    val count = stream.read(part)
                    if (count < 0) break
                    digest.update(part, 0, count)
                    length += count
                }
            }
            val hash = digest.digest().joinToString("") { "%02x".format(it) }
            if (length != entry.bytes || hash != entry.sha256) {
                throw ElirException("${entry.path} was altered after export; fix: build the app with the whole bundle")
            }
        }
    }

    /** A picture of the bundle that has the graph's size. */
    fun goldenImage(path: String): FloatImage {
        val options = BitmapFactory.Options().apply { inScaled = false }
        val bitmap = open(path).use { BitmapFactory.decodeStream(it, null, options) }
        val size = manifest.input.size
        if (bitmap == null || bitmap.width != size || bitmap.height != size) {
            throw ElirException("$path does not fit the bundle's graph; fix: export again")
        }
        return bitmap.toArgb().region(0, 0, size, size)
    }

    private fun open(path: String): InputStream =
        try {
            assets.open(nameOf(path))
        } catch (error: FileNotFoundException) {
            throw ElirException("the app carries no $path; fix: build it with -Pbundle=folder", error)
        }

    private companion object {
        const val FOLDER = "bundle"
    }
}

fun Bitmap.toArgb(): ArgbImage =
    ArgbImage(width, height).also { getPixels(it.pixels, 0, width, 0, 0, width, height) }

fun ArgbImage.toBitmap(): Bitmap = Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888)
