@file:Suppress("UNUSED_PARAMETER", "unused")

package android.database

interface Cursor : java.io.Closeable {
    fun moveToFirst(): Boolean
    fun getString(column: Int): String?
    fun getColumnIndex(name: String): Int
}
