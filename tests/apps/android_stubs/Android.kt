@file:Suppress("UNUSED_PARAMETER", "unused")

package android.app

import android.content.Context

open class Application : Context()
