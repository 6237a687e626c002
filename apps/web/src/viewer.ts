/** Shows a photo and its result: a divider between before and after, zoom, and the mask's brush. */

import { contextOf, find } from "./dom";
import { MaskCanvas } from "./mask";
import type { Rgba } from "./restore";

const MOST_ZOOM = 16;
const ZOOM_STEP = 1.25;
const PAN_STEP = 60;
/** How near a pointer has to be to take the divider, in CSS pixels. */
const NEAR_DIVIDER = 22;

type Point = [number, number];

export class Viewer {
  readonly mask: MaskCanvas;
  /** Diameter of the brush, in pixels of the photo. */
  brush = 24;
  private readonly box = find("viewer");
  private readonly stage = find("stage");
  private readonly before = find<HTMLCanvasElement>("before");
  private readonly after = find<HTMLCanvasElement>("after");
  private readonly maskCanvas = find<HTMLCanvasElement>("mask");
  private readonly divider = find("divider");
  private readonly cursor = find("cursor");
  private readonly split = find<HTMLInputElement>("split");
  private readonly level = find<HTMLOutputElement>("zoom-level");
  private readonly buttons = ["zoom-out", "zoom-in", "zoom-fit", "zoom-full"].map((id) =>
    find<HTMLButtonElement>(id),
  );
  /** Of the stage, in pixels of the result. */
  private width = 0;
  private height = 0;
  /** CSS pixels per pixel of the result, and where the stage's corner is. */
  private zoom = 1;
  private corner: Point = [0, 0];
  private fitted = true;
  private compared = false;
  private painting = false;
  private penDown = false;
  private brushAt: Point = [0, 0];
  private readonly pointers = new Map<number, Point>();
  private dragging: "divider" | "paint" | "pan" | null = null;

  /** @param painted called after a stroke of the brush. */
  constructor(private readonly painted: () => void) {
    this.mask = new MaskCanvas(this.maskCanvas);
    this.split.addEventListener("input", () => this.place());
    new ResizeObserver(() => (this.fitted ? this.fit() : this.place())).observe(this.box);
    const [out, in_, fit, full] = this.buttons;
    out.addEventListener("click", () => this.zoomBy(1 / ZOOM_STEP));
    in_.addEventListener("click", () => this.zoomBy(ZOOM_STEP));
    fit.addEventListener("click", () => this.fit());
    full.addEventListener("click", () => this.zoomBy(1 / this.zoom));
    this.box.addEventListener("keydown", (event) => this.onKey(event));
    this.box.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.box.addEventListener("pointerdown", (event) => this.onDown(event));
    this.box.addEventListener("pointermove", (event) => this.onMove(event));
    for (const type of ["pointerup", "pointercancel"] as const) {
      this.box.addEventListener(type, (event) => this.onUp(event));
    }
    this.box.addEventListener("pointerleave", () => {
      if (!this.penDown && document.activeElement !== this.box) this.cursor.hidden = true;
    });
  }

  /** Show a photo; there is no result yet. */
  showPhoto(image: Rgba): void {
    [this.before.width, this.before.height] = [image.width, image.height];
    contextOf(this.before).putImageData(new ImageData(image.data, image.width, image.height), 0, 0);
    this.mask.reset(image.width, image.height);
    this.brushAt = [image.width / 2, image.height / 2];
    this.box.style.setProperty("--height-by-width", String(image.height / image.width));
    for (const button of this.buttons) button.disabled = false;
    find("empty").hidden = true;
    this.box.classList.add("movable");
    this.dropResult(image.width, image.height);
  }

  /** Take the result away; one of this size is to come. */
  dropResult(width: number, height: number): void {
    const same = width === this.width && height === this.height;
    [this.width, this.height] = [width, height];
    this.after.width = this.after.height = 0;
    this.compare(false);
    this.stage.style.width = `${width}px`;
    this.stage.style.height = `${height}px`;
    if (same) this.place();
    else this.fit();
  }

  /** Make room for a result, whose finished parts are shown as they come. */
  startResult(): void {
    [this.after.width, this.after.height] = [this.width, this.height];
    this.after.style.clipPath = "none";
  }

  /** Show a finished part of the result. */
  showPart(left: number, top: number, { data, width, height }: Rgba): void {
    contextOf(this.after).putImageData(new ImageData(data, width, height), left, top);
  }

  /** Compare before and after from now on. */
  finishResult(): void {
    this.compare(true);
  }

  /** Return the result as a file; null: the browser refuses. */
  toBlob(type: string, quality?: number): Promise<Blob | null> {
    return new Promise((resolve) => this.after.toBlob(resolve, type, quality));
  }

  /** Bring the photo into the window, if it is not there. */
  scrollIntoView(): void {
    this.box.scrollIntoView({ block: "nearest" });
  }

  /** Let the pointer and keys paint the mask, which is shown meanwhile. */
  setPainting(on: boolean): void {
    this.painting = on;
    this.penDown = false;
    this.maskCanvas.hidden = !on;
    this.cursor.hidden = true;
    this.box.classList.toggle("painting", on);
    this.place();
  }

  private compare(on: boolean): void {
    this.compared = on;
    this.split.disabled = !on;
    this.divider.hidden = !on;
    for (const id of ["tag-before", "tag-after"]) find(id).hidden = !on;
    if (!on) this.after.style.clipPath = "none";
    this.box.setAttribute("aria-label", on ? "Photo, before and after" : "Photo");
    this.place();
  }

  private get boxSize(): Point {
    return [this.box.clientWidth, this.box.clientHeight];
  }

  /** Show all of the photo, small ones at most four times as large. */
  private fit(): void {
    if (!this.width) return;
    const [width, height] = this.boxSize;
    this.zoom = Math.min(4, width / this.width, height / this.height);
    this.corner = [(width - this.width * this.zoom) / 2, (height - this.height * this.zoom) / 2];
    this.fitted = true;
    this.place();
  }

  private zoomBy(factor: number, center?: Point): void {
    if (!this.width) return;
    const [width, height] = this.boxSize;
    const least = Math.min(1, width / this.width, height / this.height) / 2;
    const zoom = Math.min(MOST_ZOOM, Math.max(least, this.zoom * factor));
    const [x, y] = center ?? [width / 2, height / 2];
    const change = zoom / this.zoom;
    this.corner = [x - (x - this.corner[0]) * change, y - (y - this.corner[1]) * change];
    this.zoom = zoom;
    this.fitted = false;
    this.place();
  }

  private pan(dx: number, dy: number): void {
    this.corner = [this.corner[0] + dx, this.corner[1] + dy];
    this.fitted = false;
    this.place();
  }

  /** Bring the elements where the state says. */
  private place(): void {
    if (!this.width) return;
    this.corner = this.corner.map((at, axis) => {
      const shown = [this.width, this.height][axis] * this.zoom;
      const room = this.boxSize[axis];
      // What is smaller than the box stays in the middle; what is larger leaves no gap.
      return shown <= room ? (room - shown) / 2 : Math.min(0, Math.max(room - shown, at));
    }) as Point;
    const [x, y] = this.corner;
    this.stage.style.transform = `translate(${x}px, ${y}px) scale(${this.zoom})`;
    this.stage.style.imageRendering = this.zoom >= 3 ? "pixelated" : "auto";
    this.level.value = `${Math.round(this.zoom * 100)} %`;
    this.box.classList.toggle("fitted", this.fitted);
    if (this.compared) {
      const share = Number(this.split.value) / 100;
      this.after.style.clipPath = `inset(0 0 0 ${share * 100}%)`;
      this.divider.style.left = `${x + share * this.width * this.zoom}px`;
      this.split.setAttribute("aria-valuetext", `${this.split.value} % before`);
    }
    this.placeCursor();
  }

  private placeCursor(): void {
    const scale = (this.zoom * this.width) / Math.max(1, this.before.width);
    this.cursor.style.left = `${this.corner[0] + this.brushAt[0] * scale}px`;
    this.cursor.style.top = `${this.corner[1] + this.brushAt[1] * scale}px`;
    this.cursor.style.width = this.cursor.style.height = `${this.brush * scale}px`;
  }

  /** The brush's size was changed. */
  refreshCursor(): void {
    this.placeCursor();
  }

  private pointOf(event: PointerEvent | WheelEvent): Point {
    const { left, top } = this.box.getBoundingClientRect();
    return [event.clientX - left - this.box.clientLeft, event.clientY - top - this.box.clientTop];
  }

  private inPhoto([x, y]: Point): Point {
    const scale = (this.zoom * this.width) / Math.max(1, this.before.width);
    return [(x - this.corner[0]) / scale, (y - this.corner[1]) / scale];
  }

  private nearDivider([x]: Point): boolean {
    return this.compared && Math.abs(x - this.divider.offsetLeft) < NEAR_DIVIDER;
  }

  private setSplit([x]: Point): void {
    const share = (x - this.corner[0]) / (this.width * this.zoom);
    this.split.value = String(Math.round(Math.min(1, Math.max(0, share)) * 100));
    this.place();
  }

  private paintTo(to: Point, from: Point = to): void {
    this.mask.stroke(from, to, this.brush);
    this.painted();
  }

  private onDown(event: PointerEvent): void {
    if (!this.width || event.button > 0) return;
    const point = this.pointOf(event);
    this.box.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, point);
    if (this.pointers.size > 1) this.dragging = null; // a pinch
    else if (this.painting) {
      this.dragging = "paint";
      this.brushAt = this.inPhoto(point);
      this.paintTo(this.brushAt);
    } else this.dragging = this.nearDivider(point) ? "divider" : "pan";
  }

  private onMove(event: PointerEvent): void {
    const point = this.pointOf(event);
    this.box.classList.toggle("on-divider", !this.painting && this.nearDivider(point));
    const last = this.pointers.get(event.pointerId);
    if (this.painting && this.pointers.size < 2) {
      const to = this.inPhoto(point);
      if (this.dragging === "paint") this.paintTo(to, this.brushAt);
      this.brushAt = to;
      this.cursor.hidden = false;
      this.placeCursor();
    }
    if (!last) return;
    if (this.pointers.size === 2) this.pinch(event.pointerId, point);
    else if (this.dragging === "divider") this.setSplit(point);
    else if (this.dragging === "pan") this.pan(point[0] - last[0], point[1] - last[1]);
    this.pointers.set(event.pointerId, point);
  }

  private pinch(moved: number, to: Point): void {
    const others = [...this.pointers].filter(([id]) => id !== moved);
    const from = this.pointers.get(moved);
    if (!from || others.length !== 1) return;
    const [, still] = others[0];
    const distance = (point: Point): number =>
      Math.max(1, Math.hypot(point[0] - still[0], point[1] - still[1]));
    this.zoomBy(distance(to) / distance(from), [(to[0] + still[0]) / 2, (to[1] + still[1]) / 2]);
    this.pan((to[0] - from[0]) / 2, (to[1] - from[1]) / 2);
  }

  private onUp(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size === 0) this.dragging = null;
  }

  private onWheel(event: WheelEvent): void {
    if (!this.width) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 400), this.pointOf(event));
  }

  private onKey(event: KeyboardEvent): void {
    if (event.target !== this.box || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows: Record<string, Point> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const arrow = arrows[event.key];
    if (event.key === "+" || event.key === "=") this.zoomBy(ZOOM_STEP);
    else if (event.key === "-") this.zoomBy(1 / ZOOM_STEP);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.zoomBy(1 / this.zoom);
    else if (arrow && this.painting) this.moveBrush(arrow);
    else if (arrow) this.pan(-PAN_STEP * arrow[0], -PAN_STEP * arrow[1]);
    else if (event.key === " " && this.painting) {
      this.penDown = !this.penDown;
      this.cursor.hidden = false;
      if (this.penDown) this.paintTo(this.brushAt);
    } else return;
    event.preventDefault();
  }

  private moveBrush([dx, dy]: Point): void {
    const step = Math.max(1, this.brush / 4);
    const [x, y] = this.brushAt;
    const to: Point = [
      Math.min(this.before.width, Math.max(0, x + dx * step)),
      Math.min(this.before.height, Math.max(0, y + dy * step)),
    ];
    if (this.penDown) this.paintTo(to, this.brushAt);
    this.brushAt = to;
    this.cursor.hidden = false;
    this.placeCursor();
    this.followBrush();
  }

  /** Move the photo so that the brush stays in sight. */
  private followBrush(): void {
    const at: Point = [this.cursor.offsetLeft, this.cursor.offsetTop];
    const [dx, dy] = at.map((place, axis) =>
      place < 0 ? -place : Math.min(0, this.boxSize[axis] - place),
    );
    if (dx || dy) this.pan(dx, dy);
  }
}
