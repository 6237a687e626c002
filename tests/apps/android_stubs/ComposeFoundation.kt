@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.compose.foundation

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.drawscope.DrawScope

class ScrollState

@Composable
fun rememberScrollState(): ScrollState = TODO()

fun Modifier.verticalScroll(state: ScrollState): Modifier = TODO()

@Composable
fun isSystemInDarkTheme(): Boolean = TODO()

@Composable
fun Canvas(modifier: Modifier, onDraw: DrawScope.() -> Unit) {}
