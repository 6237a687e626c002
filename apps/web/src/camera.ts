/** A photo from the camera, taken in a dialog. */

import { find } from "./dom";
import { AppError, lineOf } from "./errors";

let busy = false;

/**
 * Open the camera and return the photo taken; null: the dialog was closed, or is open already.
 *
 * @throws AppError there is no camera, or it was not allowed.
 */
export async function takePhoto(): Promise<Blob | null> {
  if (busy) return null; // the browser still asks, or the dialog is open
  busy = true;
  try {
    return await photoFrom(await openCamera());
  } finally {
    busy = false;
  }
}

async function photoFrom(stream: MediaStream): Promise<Blob | null> {
  const dialog = find<HTMLDialogElement>("camera-dialog");
  const video = find<HTMLVideoElement>("video");
  try {
    video.srcObject = stream;
    const shoot = find<HTMLButtonElement>("shoot");
    shoot.disabled = true; // before the first picture there is none to take
    const taken = wasTaken(dialog); // the dialog may be closed before that, too
    dialog.showModal();
    await Promise.race([video.play(), taken]);
    shoot.disabled = false;
    shoot.focus();
    if (!(await taken)) return null;
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
  const fix = "connect one and allow this page to use it, or choose a photo";
  // Pages without a secure address have no `mediaDevices`.
  if (!(navigator.mediaDevices as MediaDevices | undefined)) {
    throw new AppError("the camera cannot be used", { expected: "a secure address", fix });
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } },
    });
  } catch (error) {
    throw new AppError("the camera cannot be used", { got: lineOf(error), fix });
  }
}

function wasTaken(dialog: HTMLDialogElement): Promise<boolean> {
  return new Promise((resolve) => {
    find("shoot").onclick = () => resolve(true);
    find("camera-close").onclick = () => resolve(false);
    dialog.addEventListener("close", () => resolve(false), { once: true });
  });
}
