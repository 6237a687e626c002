package org.elir.edge.app

import android.app.Application
import android.graphics.Bitmap
import android.net.Uri
import android.os.Handler
import android.os.Looper
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.lifecycle.AndroidViewModel
import java.util.concurrent.Executors
import org.elir.edge.CancelledException
import org.elir.edge.ElirException
import org.elir.edge.Fitting

/** Tiles done and in all, and the seconds that are left; null before the first tile. */
data class Work(val done: Int, val total: Int, val secondsLeft: Int?)

/** What the screen shows. */
data class UiState(
    val task: String = "",
    val choice: Choice = Choice.AUTO,
    val accelerator: String? = null,
    val passedOver: List<String> = emptyList(),
    val photo: Uri? = null,
    val before: Bitmap? = null,
    val after: Bitmap? = null,
    val work: Work? = null,
    val message: String? = null,
) {
    val busy: Boolean get() = work != null
}

/** Restores one photo at a time on a thread of its own; the state is changed on the main thread alone. */
class RestoreViewModel(application: Application) : AndroidViewModel(application) {
    var state by mutableStateOf(UiState())
        private set

    private val main = Handler(Looper.getMainLooper())
    private val worker = Executors.newSingleThreadExecutor()
    private val photos = Photos(application.contentResolver)
    private var bundle: BundleAssets? = null // of the worker
    private var model: LiteRtModel? = null // of the worker
    private var modelChoice: Choice? = null // of the worker

    @Volatile
    private var cancelled = false

    fun choose(choice: Choice) {
        state = state.copy(choice = choice)
    }

    /** Starts to restore a photo. */
    fun restore(uri: Uri) {
        if (state.busy) return
        val choice = state.choice
        cancelled = false
        state = state.copy(photo = uri, before = null, after = null, message = null, work = Work(0, 0, null))
        worker.execute {
            try {
                work(uri, choice)
            } catch (_: CancelledException) {
                finish { it.copy(message = "Stopped. Nothing was saved.") }
            } catch (error: ElirException) {
                finish { it.copy(message = error.message) }
            } catch (_: OutOfMemoryError) {
                finish { it.copy(message = "not enough memory for this photo; fix: crop it") }
            }
        }
    }

    private fun work(uri: Uri, choice: Choice) {
        val opened = bundle ?: BundleAssets(getApplication<Application>().assets).also {
            it.check()
            bundle = it
        }
        val manifest = opened.manifest
        val before = photos.read(uri, manifest.processing.upscale)
        change { it.copy(task = manifest.task, before = before) }
        val runner = runnerOf(opened, choice)
        change { it.copy(accelerator = runner.accelerator.toString(), passedOver = runner.passedOver) }
        val started = System.nanoTime()
        val restored = Fitting(manifest.processing, manifest.input.size).restore(before.toArgb(), runner::run) { done, total ->
            val spent = (System.nanoTime() - started) / 1e9
            val left = if (done == 0) null else (spent / done * (total - done)).toInt()
            change { it.copy(work = Work(done, total, left)) }
            !cancelled
        }
        val after = restored.toBitmap().apply { setHasAlpha(before.hasAlpha()) }
        finish { it.copy(after = after) }
    }

    private fun runnerOf(opened: BundleAssets, choice: Choice): LiteRtModel {
        val current = model
        if (current != null && modelChoice == choice) return current
        current?.close()
        model = null
        return LiteRtModel.open(opened, choice).also {
            model = it
            modelChoice = choice
        }
    }

    /** Stops after the tile that is being computed. */
    fun cancel() {
        cancelled = true
    }

    /** Saves the result as a new image. */
    fun save() {
        val (result, original) = (state.after ?: return) to (state.photo ?: return)
        if (state.busy) return
        state = state.copy(work = Work(0, 0, null))
        worker.execute {
            try {
                photos.save(result, original)
                finish { it.copy(message = "Saved as a new image.") }
            } catch (error: ElirException) {
                finish { it.copy(message = error.message) }
            }
        }
    }

    private fun change(to: (UiState) -> UiState) {
        main.post { state = to(state) }
    }

    private fun finish(to: (UiState) -> UiState) = change { to(it).copy(work = null) }

    override fun onCleared() {
        cancelled = true
        worker.execute { model?.close() }
        worker.shutdown()
    }
}
