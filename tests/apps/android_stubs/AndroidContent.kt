@file:Suppress("UNUSED_PARAMETER", "unused")

package android.content

import android.content.res.AssetManager
import android.database.Cursor
import android.net.Uri
import java.io.OutputStream

open class Context {
    open val assets: AssetManager get() = TODO()
    open val contentResolver: ContentResolver get() = TODO()
}

open class ContentValues {
    fun put(key: String, value: String?) {}
    fun put(key: String, value: Int?) {}
}

abstract class ContentResolver {
    fun query(uri: Uri, projection: Array<String>?, selection: String?, arguments: Array<String>?, order: String?): Cursor? = TODO()
    fun insert(uri: Uri, values: ContentValues?): Uri? = TODO()
    fun update(uri: Uri, values: ContentValues?, where: String?, arguments: Array<String>?): Int = TODO()
    fun delete(uri: Uri, where: String?, arguments: Array<String>?): Int = TODO()
    fun openOutputStream(uri: Uri): OutputStream? = TODO()
}
