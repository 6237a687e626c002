@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.lifecycle

import android.app.Application

abstract class ViewModel {
    protected open fun onCleared() {}
}

open class AndroidViewModel(private val application: Application) : ViewModel() {
    @Suppress("UNCHECKED_CAST")
    open fun <T : Application> getApplication(): T = application as T
}
