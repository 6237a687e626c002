/** A photo from the camera, taken in a dialog. */

import { find } from "./dom";
import { AppError, lineOf } from "./errors";

/**
 * Open the camera and return the photo taken; null: the dialog was closed.
 *
 * @throws AppError there is no camera, or it was not allowed.
 */
export async function takePhoto(): Promise<Blob | null> {
  const stream = await openCamera();
  const dialog = find<HTMLDialogElement>("camera-dialog");
  const video = find<HTMLVideoElement>("video");
  try {
    video.srcObject = stream;
    dialog.showModal();
    await video.play();
    if (!(await wasTaken(dialog))) return null;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    if (dialog.open) dialog.close();
  }
}

async function openCamera(): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } },
    });
  } catch (error) {
    throw new AppError("the camera cannot be used", {
      got: lineOf(error),
      fix: "connect one and allow this page to use it, or choose a photo",
    });
  }
}

function wasTaken(dialog: HTMLDialogElement): Promise<boolean> {
  return new Promise((resolve) => {
    find("shoot").onclick = () => resolve(true);
    find("camera-close").onclick = () => resolve(false);
    dialog.addEventListener("close", () => resolve(false), { once: true });
  });
}
