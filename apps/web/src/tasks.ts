/** What each task is for; the words are those of `docs/restoring.md`, which a test compares. */

import bfr from "../../../docs/images/task-bfr.jpg";
import bsr from "../../../docs/images/task-bsr.jpg";
import denoising from "../../../docs/images/task-denoising.jpg";
import inpainting from "../../../docs/images/task-inpainting.jpg";
import sr from "../../../docs/images/task-sr.jpg";

export interface TaskGuide {
  name: string;
  title: string;
  /** What the photo suffers from. */
  suffers: string;
  /** What the model learned. */
  learned: string;
  /** Address of a picture that shows a photo before and after; none for a task not known here. */
  example?: string;
}

export const TASKS: readonly TaskGuide[] = [
  {
    name: "denoising",
    title: "Denoise",
    suffers: "grain, high ISO, poor light",
    learned: "Gaussian noise of 15 to 90 (of 255)",
    example: denoising,
  },
  {
    name: "bsr",
    title: "Enlarge ×4",
    suffers: "small, blurred, compressed, origin unknown",
    learned: "blur, reduction to a quarter, noise, JPEG",
    example: bsr,
  },
  {
    name: "sr",
    title: "Enlarge ×8",
    suffers: "small and noisy, eight times too small",
    learned: "reduction to an eighth, noise of 12.8 (of 255)",
    example: sr,
  },
  {
    name: "inpainting",
    title: "Fill in",
    suffers: "parts are missing, scratched or covered",
    learned: "50 to 95 % missing pixels, strokes, boxes; noise",
    example: inpainting,
  },
  {
    name: "bfr",
    title: "Restore faces",
    suffers: "one face, cut out and upright",
    learned: "blur, reduction, noise and JPEG of faces",
    example: bfr,
  },
];

/** Return a task's guide; of one that this page does not know, its name alone. */
export function guideOf(task: string): TaskGuide {
  return (
    TASKS.find(({ name }) => name === task) ?? { name: task, title: task, suffers: "", learned: "" }
  );
}
