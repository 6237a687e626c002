/** Photos come in: chosen, dropped, pasted, or from the camera. */

import { takePhoto } from "./camera";
import { find } from "./dom";

/**
 * Listen for photos.
 *
 * @param take gets each photo with its name.
 * @param attempt runs what may fail for a reason that the user can act on.
 */
export function listenForPhotos(
  take: (file: Blob, name: string) => void,
  attempt: (work: () => Promise<void>) => Promise<void>,
): void {
  const input = find<HTMLInputElement>("file");
  find("pick").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) take(file, file.name);
    input.value = ""; // the same file may be chosen again
  });
  find("camera").addEventListener("click", () => {
    void attempt(async () => {
      const taken = await takePhoto();
      if (taken) take(taken, `camera-${timestamp()}.png`);
    });
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) take(file, file.name || "pasted.png");
  });
  listenForDrops(take);
}

function listenForDrops(take: (file: Blob, name: string) => void): void {
  let inside = 0; // a drag enters and leaves every element on its way
  const show = (): void => void document.body.classList.toggle("dragging", inside > 0);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    inside += 1;
    show();
  });
  document.addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    show();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    show();
    const [file] = event.dataTransfer?.files ?? [];
    if (file) take(file, file.name);
  });
}

function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replace(/\D/g, "");
}
