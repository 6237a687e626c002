package org.elir.edge.app

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import org.elir.edge.ElirException
import org.elir.edge.FloatImage
import org.elir.edge.bytesToImage
import org.elir.edge.floatsToImage
import org.elir.edge.psnr
import org.elir.edge.toBytes
import org.elir.edge.toFloats

/** What the user may choose, fastest first where it works. */
enum class Choice(val label: String, val accelerators: List<Accelerator>) {
    AUTO("Auto", listOf(Accelerator.NPU, Accelerator.GPU, Accelerator.CPU)),
    NPU("NPU", listOf(Accelerator.NPU, Accelerator.CPU)),
    GPU("GPU", listOf(Accelerator.GPU, Accelerator.CPU)),
    CPU("CPU", listOf(Accelerator.CPU)),
}

/**
 * The bundle's model on one accelerator.
 *
 * @property accelerator that runs it.
 * @property passedOver why faster ones do not, a line each.
 */
class LiteRtModel private constructor(
    private val bundle: BundleAssets,
    private val model: CompiledModel,
    val accelerator: Accelerator,
    val passedOver: List<String>,
) : AutoCloseable {
    private val inputs: List<TensorBuffer> = model.createInputBuffers()
    private val outputs: List<TensorBuffer> = model.createOutputBuffers()

    /** Runs the graph once: (size, size) to the same. */
    fun run(tile: FloatImage): FloatImage {
        val (input, output) = bundle.manifest.input to bundle.manifest.output
        try {
            if (input.bytes) inputs[0].writeInt8(tile.toBytes(input)) else inputs[0].writeFloat(tile.toFloats(input))
            model.run(inputs, outputs)
            return if (output.bytes) {
                bytesToImage(outputs[0].readInt8(), output)
            } else {
                floatsToImage(outputs[0].readFloat(), output)
            }
        } catch (error: LiteRtException) {
            throw ElirException("LiteRT failed on $accelerator (${error.message}); fix: choose another accelerator", error)
        }
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }

    companion object {
        /** Of the bundle's own test image, in dB: half floats of a GPU and the integers of an NPU reach it. */
        private const val LEAST_PSNR = 35.0

        /**
         * Opens the first accelerator of a choice that compiles the model and computes what the bundle recorded.
         *
         * @throws ElirException none does.
         */
        fun open(bundle: BundleAssets, choice: Choice): LiteRtModel {
            val reasons = mutableListOf<String>()
            for (accelerator in choice.accelerators) {
                val model = compiled(bundle, accelerator, reasons) ?: continue
                val opened = LiteRtModel(bundle, model, accelerator, reasons.toList())
                val psnr = try {
                    psnr(
                        opened.run(bundle.goldenImage(bundle.manifest.selfTestInput)),
                        bundle.goldenImage(bundle.manifest.selfTestExpected),
                    )
                } catch (error: ElirException) {
                    opened.close()
                    reasons += "$accelerator: ${error.message}"
                    continue
                }
                if (psnr >= LEAST_PSNR) return opened
                opened.close()
                reasons += "$accelerator computes another image (%.1f dB to the recorded one)".format(psnr)
            }
            throw ElirException("no accelerator runs the bundle: ${reasons.joinToString("; ")}; fix: export again")
        }

        private fun compiled(bundle: BundleAssets, accelerator: Accelerator, reasons: MutableList<String>): CompiledModel? =
            try {
                val name = bundle.nameOf(bundle.manifest.artifact)
                CompiledModel.create(bundle.assets, name, CompiledModel.Options(accelerator), null)
            } catch (error: LiteRtException) {
                reasons += "$accelerator: ${error.message}"
                null
            } catch (error: UnsatisfiedLinkError) {
                reasons += "$accelerator: its library is not on this phone (${error.message})"
                null
            }
    }
}
