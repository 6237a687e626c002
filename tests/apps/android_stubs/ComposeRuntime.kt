@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.compose.runtime

import kotlin.reflect.KProperty

@Target(AnnotationTarget.FUNCTION, AnnotationTarget.TYPE, AnnotationTarget.PROPERTY_GETTER)
annotation class Composable

interface State<T> {
    val value: T
}

interface MutableState<T> : State<T> {
    override var value: T
}

interface MutableFloatState : MutableState<Float>

operator fun <T> State<T>.getValue(owner: Any?, property: KProperty<*>): T = TODO()

operator fun <T> MutableState<T>.setValue(owner: Any?, property: KProperty<*>, value: T) {}

fun <T> mutableStateOf(value: T): MutableState<T> = TODO()

fun mutableFloatStateOf(value: Float): MutableFloatState = TODO()

@Composable
inline fun <T> remember(calculation: () -> T): T = TODO()

@Composable
inline fun <T> remember(key: Any?, calculation: () -> T): T = TODO()
