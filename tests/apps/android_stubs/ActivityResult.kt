@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.activity.result

import androidx.activity.result.contract.ActivityResultContracts

class PickVisualMediaRequest

fun PickVisualMediaRequest(mediaType: ActivityResultContracts.PickVisualMedia.VisualMediaType): PickVisualMediaRequest = TODO()
