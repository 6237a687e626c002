@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.ai.edge.litert

import android.content.res.AssetManager

enum class Accelerator { NONE, CPU, GPU, NPU }

class LiteRtException(message: String) : Exception(message)

class Environment

abstract class JniHandle : AutoCloseable {
    override fun close() {}
}

class TensorBuffer : JniHandle() {
    fun writeFloat(data: FloatArray) {}
    fun writeInt8(data: ByteArray) {}
    fun readFloat(): FloatArray = TODO()
    fun readInt8(): ByteArray = TODO()
}

class CompiledModel : JniHandle() {
    class Options(vararg val accelerators: Accelerator)

    fun createInputBuffers(signatureIndex: Int = 0): List<TensorBuffer> = TODO()
    fun createOutputBuffers(signatureIndex: Int = 0): List<TensorBuffer> = TODO()
    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>, signatureIndex: Int = 0) {}

    companion object {
        @Throws(LiteRtException::class)
        @JvmStatic
        fun create(assets: AssetManager, name: String, options: Options, environment: Environment? = null): CompiledModel = TODO()
    }
}
