@file:Suppress("unused")

package androidx.compose.ui.unit

class Dp(val value: Float)

val Int.dp: Dp get() = Dp(toFloat())

class IntSize(val width: Int, val height: Int)

interface Density {
    fun Dp.toPx(): Float
}
