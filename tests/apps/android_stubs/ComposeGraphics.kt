@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.compose.ui.graphics

import android.graphics.Bitmap

interface ImageBitmap

fun Bitmap.asImageBitmap(): ImageBitmap = TODO()

class Color {
    companion object {
        val White: Color get() = TODO()
    }
}
