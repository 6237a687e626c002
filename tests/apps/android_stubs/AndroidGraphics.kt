@file:Suppress("UNUSED_PARAMETER", "unused")

package android.graphics

import android.content.ContentResolver
import android.net.Uri
import android.util.Size
import java.io.InputStream
import java.io.OutputStream

class Rect

class Bitmap {
    enum class Config { ARGB_8888 }

    enum class CompressFormat { JPEG, PNG }

    val width: Int get() = TODO()
    val height: Int get() = TODO()
    fun hasAlpha(): Boolean = TODO()
    fun setHasAlpha(has: Boolean) {}
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {}
    fun compress(format: CompressFormat, quality: Int, stream: OutputStream): Boolean = TODO()

    companion object {
        @JvmStatic fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config): Bitmap = TODO()
    }
}

object BitmapFactory {
    class Options {
        @JvmField var inScaled: Boolean = true
    }

    @JvmStatic fun decodeStream(stream: InputStream?, padding: Rect?, options: Options?): Bitmap? = TODO()
}

class ImageDecoder {
    class Source
    class ImageInfo {
        val size: Size get() = TODO()
    }

    fun interface OnHeaderDecodedListener {
        fun onHeaderDecoded(decoder: ImageDecoder, info: ImageInfo, source: Source)
    }

    var allocator: Int = 0
    var isMutableRequired: Boolean = false

    companion object {
        const val ALLOCATOR_SOFTWARE = 1

        @JvmStatic fun createSource(resolver: ContentResolver, uri: Uri): Source = TODO()

        @Throws(java.io.IOException::class)
        @JvmStatic fun decodeBitmap(source: Source, listener: OnHeaderDecodedListener): Bitmap = TODO()
    }
}
