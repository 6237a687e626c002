package org.elir.edge.app

import android.content.ContentResolver
import android.content.ContentValues
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Environment
import android.provider.MediaStore
import android.provider.OpenableColumns
import java.io.IOException
import org.elir.edge.ElirException

/** Reads a photo and saves results as new ones; an original is never written to. */
class Photos(private val resolver: ContentResolver) {
    /**
     * Reads a photo, upright.
     *
     * @param upscale output pixels per input pixel along each axis, for the bound on the result.
     * @throws ElirException it cannot be read, or the result would not fit into memory.
     */
    fun read(uri: Uri, upscale: Int): Bitmap {
        val source = ImageDecoder.createSource(resolver, uri)
        try {
            return ImageDecoder.decodeBitmap(source) { decoder, info, _ ->
                val pixels = info.size.width.toLong() * info.size.height * upscale * upscale
                if (pixels > MAX_PIXELS) {
                    throw TooLarge(pixels)
                }
                decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE // its pixels are read
                decoder.isMutableRequired = false
            }
        } catch (error: TooLarge) {
            throw ElirException(
                "the result would have ${error.pixels / 1_000_000} megapixels; " +
                    "expected at most ${MAX_PIXELS / 1_000_000}; fix: crop the photo",
                error,
            )
        } catch (error: IOException) {
            throw ElirException("the photo cannot be read (${error.message}); fix: choose another", error)
        }
    }

    private class TooLarge(val pixels: Long) : RuntimeException()

    /** The photo's name without its suffix. */
    fun nameOf(uri: Uri): String =
        resolver.query(uri, arrayOf(OpenableColumns.DISPLAY_NAME), null, null, null)?.use { cursor ->
            if (cursor.moveToFirst()) cursor.getString(0)?.substringBeforeLast('.') else null
        } ?: "photo"

    /**
     * Saves a result as a new image beside the original where the gallery tells its folder, else in Pictures/elir-edge.
     *
     * It appears in the gallery once it is whole. PNG where there is transparency, JPEG of quality 95 else.
     *
     * @throws ElirException it cannot be written; nothing is left.
     */
    fun save(result: Bitmap, original: Uri): Uri {
        val png = result.hasAlpha()
        val values = ContentValues().apply {
            put(MediaStore.MediaColumns.DISPLAY_NAME, "${nameOf(original)}-restored.${if (png) "png" else "jpg"}")
            put(MediaStore.MediaColumns.MIME_TYPE, if (png) "image/png" else "image/jpeg")
            put(MediaStore.MediaColumns.RELATIVE_PATH, folderOf(original))
            put(MediaStore.MediaColumns.IS_PENDING, 1)
        }
        val collection = MediaStore.Images.Media.getContentUri(MediaStore.VOLUME_EXTERNAL_PRIMARY)
        val target = resolver.insert(collection, values)
            ?: throw ElirException("the gallery takes no new image; fix: free space on the phone")
        try {
            val stream = resolver.openOutputStream(target) ?: throw IOException("no stream")
            stream.use {
                val format = if (png) Bitmap.CompressFormat.PNG else Bitmap.CompressFormat.JPEG
                if (!result.compress(format, JPEG_QUALITY, it)) throw IOException("not encoded")
            }
            val visible = ContentValues().apply { put(MediaStore.MediaColumns.IS_PENDING, 0) }
            resolver.update(target, visible, null, null)
            return target
        } catch (error: IOException) {
            resolver.delete(target, null, null)
            throw ElirException("the result cannot be saved (${error.message}); fix: free space on the phone", error)
        }
    }

    /** The original's folder if it is one that apps may add images to. */
    private fun folderOf(uri: Uri): String {
        val own = "${Environment.DIRECTORY_PICTURES}/elir-edge"
        val columns = arrayOf(MediaStore.MediaColumns.RELATIVE_PATH)
        val found = try {
            resolver.query(uri, columns, null, null, null)?.use { cursor ->
                val column = cursor.getColumnIndex(columns[0])
                if (column >= 0 && cursor.moveToFirst()) cursor.getString(column) else null
            }
        } catch (_: IllegalArgumentException) {
            null // the picker's photos do not tell it
        }
        val allowed = listOf(Environment.DIRECTORY_PICTURES, Environment.DIRECTORY_DCIM)
        return found?.takeIf { path -> allowed.any { path == it || path.startsWith("$it/") } } ?: own
    }

    private companion object {
        const val MAX_PIXELS = 64L * 1024 * 1024 // 256 MB as a bitmap, twice while it is worked on
        const val JPEG_QUALITY = 95
    }
}
