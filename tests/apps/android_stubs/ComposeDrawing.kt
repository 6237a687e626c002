@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.compose.ui.graphics.drawscope

import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.ImageBitmap
import androidx.compose.ui.unit.Density
import androidx.compose.ui.unit.IntSize

interface DrawScope : Density {
    val size: Size
    fun drawImage(image: ImageBitmap, dstSize: IntSize)
    fun drawLine(color: Color, start: Offset, end: Offset, strokeWidth: Float)
}

inline fun DrawScope.clipRect(left: Float = 0f, block: DrawScope.() -> Unit) {}
