package org.elir.edge.app

import android.graphics.Bitmap
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.compose.foundation.Canvas
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.aspectRatio
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.FilterChip
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Slider
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableFloatStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.graphics.drawscope.clipRect
import androidx.compose.ui.unit.IntSize
import androidx.compose.ui.unit.dp

/** One screen: choose a photo, watch, compare, save. */
@Composable
fun RestoreScreen(model: RestoreViewModel) {
    val state = model.state
    val picker = rememberLauncherForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri ->
        if (uri != null) model.restore(uri)
    }
    Column(
        modifier = Modifier.safeDrawingPadding().padding(16.dp).verticalScroll(rememberScrollState()),
        verticalArrangement = Arrangement.spacedBy(12.dp),
    ) {
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Choice.entries.forEach { choice ->
                FilterChip(
                    selected = state.choice == choice,
                    onClick = { model.choose(choice) },
                    label = { Text(choice.label) },
                    enabled = !state.busy,
                )
            }
        }
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Button(
                onClick = { picker.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) },
                enabled = !state.busy,
            ) { Text("Choose a photo") }
            if (state.busy) OutlinedButton(onClick = model::cancel) { Text("Cancel") }
            if (state.after != null) Button(onClick = model::save, enabled = !state.busy) { Text("Save") }
        }
        state.work?.let { Progress(it) }
        state.message?.let { Text(it) }
        state.accelerator?.let { Text("${state.task} on $it") }
        state.passedOver.forEach { Text("not on $it") }
        val before = state.before
        val after = state.after
        if (before != null) BeforeAfter(before, after)
    }
}

@Composable
private fun Progress(work: Work) {
    if (work.total == 0) {
        LinearProgressIndicator(modifier = Modifier.fillMaxWidth())
        return
    }
    LinearProgressIndicator(progress = { work.done.toFloat() / work.total }, modifier = Modifier.fillMaxWidth())
    val left = work.secondsLeft?.let { ", $it s left" }.orEmpty()
    Text("Tile ${work.done} of ${work.total}$left")
}

/** The photo, and from the slider's place to the right the result. */
@Composable
private fun BeforeAfter(before: Bitmap, after: Bitmap?) {
    var place by remember { mutableFloatStateOf(0.5f) }
    val photo = remember(before) { before.asImageBitmap() }
    val result = remember(after) { after?.asImageBitmap() }
    Canvas(modifier = Modifier.fillMaxWidth().aspectRatio(before.width.toFloat() / before.height)) {
        val whole = IntSize(size.width.toInt(), size.height.toInt())
        drawImage(photo, dstSize = whole)
        if (result != null) {
            clipRect(left = size.width * place) { drawImage(result, dstSize = whole) }
            drawLine(
                color = Color.White,
                start = Offset(size.width * place, 0f),
                end = Offset(size.width * place, size.height),
                strokeWidth = 2.dp.toPx(),
            )
        }
    }
    if (result != null) {
        Text("Before | after")
        Slider(value = place, onValueChange = { place = it })
    }
}
