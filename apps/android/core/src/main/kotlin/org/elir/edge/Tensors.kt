package org.elir.edge

/** The image as the artifact's floats: every image of the batch is the same one. */
fun FloatImage.toFloats(spec: TensorSpec): FloatArray {
    val span = spec.high - spec.low
    return FloatArray(spec.batch * values.size) { values[it % values.size] * span + spec.low }
}

/** The image as the artifact's bytes, rounded. */
fun FloatImage.toBytes(spec: TensorSpec): ByteArray {
    val floats = toFloats(spec)
    return ByteArray(floats.size) { Math.rint(floats[it].toDouble()).coerceIn(0.0, 255.0).toInt().toByte() }
}

/** The first image of the artifact's output. */
fun floatsToImage(tensor: FloatArray, spec: TensorSpec): FloatImage {
    val count = spec.size * spec.size * 3
    if (tensor.size != spec.batch * count) {
        throw ElirException("the model's output is not as the manifest says; got ${tensor.size} values; fix: export again")
    }
    val span = spec.high - spec.low
    return FloatImage(spec.size, spec.size, FloatArray(count) {
        if (!tensor[it].isFinite()) {
            throw ElirException("the model gave values that are not finite; fix: choose another accelerator")
        }
        ((tensor[it] - spec.low) / span).coerceIn(0f, 1f)
    })
}

/** The first image of an output of bytes, 0 to 255. */
fun bytesToImage(tensor: ByteArray, spec: TensorSpec): FloatImage =
    floatsToImage(FloatArray(tensor.size) { (tensor[it].toInt() and 0xFF).toFloat() }, spec)
