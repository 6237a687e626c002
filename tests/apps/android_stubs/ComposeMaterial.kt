@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.compose.material3

import androidx.compose.foundation.layout.RowScope
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier

class ColorScheme

fun lightColorScheme(): ColorScheme = TODO()

fun darkColorScheme(): ColorScheme = TODO()

@Composable
fun MaterialTheme(colorScheme: ColorScheme, content: @Composable () -> Unit) {}

@Composable
fun Surface(modifier: Modifier = Modifier, content: @Composable () -> Unit) {}

@Composable
fun Text(text: String, modifier: Modifier = Modifier) {}

@Composable
fun Button(
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    content: @Composable RowScope.() -> Unit,
) {}

@Composable
fun OutlinedButton(
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    content: @Composable RowScope.() -> Unit,
) {}

@Composable
fun FilterChip(
    selected: Boolean,
    onClick: () -> Unit,
    label: @Composable () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
) {}

@Composable
fun Slider(value: Float, onValueChange: (Float) -> Unit, modifier: Modifier = Modifier) {}

@Composable
fun LinearProgressIndicator(modifier: Modifier = Modifier) {}

@Composable
fun LinearProgressIndicator(progress: () -> Float, modifier: Modifier = Modifier) {}
