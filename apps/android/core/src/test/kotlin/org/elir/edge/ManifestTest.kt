package org.elir.edge

import java.io.File
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Against a manifest that Python wrote (`-Delir.manifest=`), and against changes to it. */
class ManifestTest {
    private val text = File(System.getProperty("elir.manifest")).readText()

    private fun refused(change: (JSONObject) -> Unit): String {
        val changed = JSONObject(text).also(change).toString()
        val message = assertThrows(ElirException::class.java) { Manifest.parse(changed) }.message.orEmpty()
        assertTrue(message, "fix: " in message)
        return message
    }

    @Test
    fun whatPythonWroteIsRead() {
        val manifest = Manifest.parse(text)
        assertEquals("denoising", manifest.task)
        assertEquals("model.tflite", manifest.artifact)
        assertEquals(manifest.input.size, manifest.output.size)
        assertTrue(manifest.processing.tiled)
        assertEquals(1, manifest.processing.upscale)
        assertTrue(manifest.files.any { it.path == manifest.artifact && it.sha256.length == 64 })
        assertTrue(manifest.minPsnr >= 35)
    }

    @Test
    fun whatCannotBeRunIsRefusedInOneLine() {
        assertTrue("schema version" in refused { it.put("schema_version", 3) })
        assertTrue("malformed" in refused { it.getJSONObject("processing").remove("overlap") })
        assertTrue("cannot be laid" in refused { it.getJSONObject("processing").put("overlap", 1000) })
        assertTrue("outside" in refused { it.getJSONArray("files").getJSONObject(0).put("path", "../model") })
        assertTrue("NHWC" in refused { it.getJSONArray("inputs").getJSONObject(0).put("layout", "NCHW") })
        assertTrue("noise" in refused { it.getJSONArray("inputs").getJSONObject(0).put("role", "noise") })
        assertTrue("is for onnxruntime" in refused {
            it.getJSONObject("target").put("backend", "onnxruntime").put("runtimes", JSONObject())
        })
        val broken = assertThrows(ElirException::class.java) { Manifest.parse("{") }
        assertTrue(broken.message.orEmpty(), "malformed" in broken.message.orEmpty())
    }
}
