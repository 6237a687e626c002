@file:Suppress("UNUSED_PARAMETER", "unused")

package android.os

class Bundle

class Looper {
    companion object {
        @JvmStatic fun getMainLooper(): Looper = TODO()
    }
}

class Handler(looper: Looper) {
    fun post(action: Runnable): Boolean = TODO()
}

object Environment {
    @JvmField val DIRECTORY_PICTURES: String = "Pictures"
    @JvmField val DIRECTORY_DCIM: String = "DCIM"
}
