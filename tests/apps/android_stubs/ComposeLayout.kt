@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.compose.foundation.layout

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.Dp

object Arrangement {
    interface Horizontal

    interface Vertical

    interface HorizontalOrVertical : Horizontal, Vertical

    fun spacedBy(space: Dp): HorizontalOrVertical = TODO()
}

interface ColumnScope

interface RowScope

@Composable
fun Column(
    modifier: Modifier = Modifier,
    verticalArrangement: Arrangement.Vertical = TODO(),
    content: @Composable ColumnScope.() -> Unit,
) {}

@Composable
fun Row(
    modifier: Modifier = Modifier,
    horizontalArrangement: Arrangement.Horizontal = TODO(),
    content: @Composable RowScope.() -> Unit,
) {}

fun Modifier.padding(all: Dp): Modifier = TODO()

fun Modifier.safeDrawingPadding(): Modifier = TODO()

fun Modifier.fillMaxWidth(fraction: Float = 1f): Modifier = TODO()

fun Modifier.aspectRatio(ratio: Float): Modifier = TODO()
