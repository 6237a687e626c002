@file:Suppress("UNUSED_PARAMETER", "unused")

package android.provider

import android.net.Uri

object OpenableColumns {
    const val DISPLAY_NAME = "_display_name"
}

object MediaStore {
    const val VOLUME_EXTERNAL_PRIMARY = "external_primary"

    object MediaColumns {
        const val DISPLAY_NAME = "_display_name"
        const val MIME_TYPE = "mime_type"
        const val RELATIVE_PATH = "relative_path"
        const val IS_PENDING = "is_pending"
    }

    object Images {
        object Media {
            @JvmStatic fun getContentUri(volume: String): Uri = TODO()
        }
    }
}
