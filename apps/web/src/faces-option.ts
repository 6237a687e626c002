/** The option to look for faces in a photo and restore each of them. */

import type { Bundle, Served } from "./bundles";
import { find } from "./dom";
import type { FaceFiles } from "./messages";

const FACES = "bfr";
/** Its photos have holes, which a face's surroundings would bring along. */
const WITHOUT = "inpainting";

export class FacesOption {
  private readonly box = find<HTMLInputElement>("faces");
  private served: Served = { bundles: [], networks: "" };
  private bundle: Bundle | null = null;
  /** What is chosen: where faces are the task, and beside other tasks. */
  private readonly chosen = { task: true, beside: false };

  /** @param changed called when the user chooses otherwise. */
  constructor(changed: () => void) {
    this.box.addEventListener("change", () => {
      this.chosen[this.kind] = this.box.checked;
      changed();
    });
  }

  /** Say what is served. */
  offer(served: Served): void {
    this.served = served;
  }

  /** Show the option as it is for a bundle. */
  show(bundle: Bundle): void {
    this.bundle = bundle;
    const ofFaces = this.kind === "task";
    const able = this.possible() !== null;
    find("faces-field").hidden = !able;
    find("faces-text").textContent = ofFaces
      ? "Find faces and restore each"
      : "Restore the photo’s faces, too";
    this.box.checked = this.chosen[this.kind];
    find("faces-note").textContent = ofFaces ? this.note() : "";
  }

  /** Return what has to be loaded for the bundle that is shown; null: faces are not looked for. */
  files(): FaceFiles | null {
    return this.chosen[this.kind] ? this.possible() : null;
  }

  private note(): string {
    const { networks } = this.served;
    if (typeof networks === "string") return `Faces in photos are not found: ${networks}`;
    return this.chosen.task ? "Any number of them, turned by any angle, from 32 pixels on." : "";
  }

  private get kind(): "task" | "beside" {
    return this.bundle?.manifest.task === FACES ? "task" : "beside";
  }

  private possible(): FaceFiles | null {
    const { bundles, networks } = this.served;
    if (typeof networks === "string" || this.bundle?.manifest.task === WITHOUT) return null;
    const bundle =
      this.kind === "task"
        ? this.bundle
        : bundles.find(
            ({ manifest }) => manifest.task === FACES && manifest.processing.fit === "resize",
          );
    return bundle ? { networks, bundle } : null;
  }
}
