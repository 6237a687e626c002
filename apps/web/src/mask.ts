/** A mask that is painted over the photo: what is missing. */

import { contextOf } from "./dom";

const COLOUR = "rgb(208 36 92)";
/** A pixel whose paint is at least half opaque is missing. */
const HALF = 128;

export class MaskCanvas {
  erasing = false;
  private readonly context: CanvasRenderingContext2D;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.context = contextOf(canvas);
  }

  /** Start anew for a photo of another size. */
  reset(width: number, height: number): void {
    [this.canvas.width, this.canvas.height] = [width, height];
  }

  clear(): void {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Paint, or erase, along a line in pixels of the photo, with a round brush. */
  stroke(from: [number, number], to: [number, number], diameter: number): void {
    const { context } = this;
    context.globalCompositeOperation = this.erasing ? "destination-out" : "source-over";
    context.strokeStyle = COLOUR;
    context.lineWidth = diameter;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    // A line of no length has no caps everywhere.
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
  }

  /** Replace what is painted by a mask of the photo's size. */
  set(mask: Uint8Array): void {
    const { width, height } = this.canvas;
    const image = new ImageData(width, height);
    for (let i = 0; i < mask.length; i++) {
      if (mask[i]) image.data.set([208, 36, 92, 255], 4 * i);
    }
    this.context.putImageData(image, 0, 0);
  }

  /** Return one byte per pixel, not zero where it is missing; null: nothing is painted. */
  get(): Uint8Array | null {
    const { width, height } = this.canvas;
    const { data } = this.context.getImageData(0, 0, width, height);
    const mask = new Uint8Array(width * height);
    let some = false;
    for (let i = 0; i < mask.length; i++) {
      if (data[4 * i + 3] >= HALF) {
        mask[i] = 1;
        some = true;
      }
    }
    return some ? mask : null;
  }
}
