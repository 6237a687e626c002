/** The page: what the user does, and what is shown of it. */

import { type Bundle, listBundles } from "./bundles";
import { takePhoto } from "./camera";
import { Client, type Timing } from "./client";
import { find } from "./dom";
import { mostThreads } from "./engine";
import { lineOf } from "./errors";
import type { EngineChoice, EngineReport } from "./messages";
import { formatOf, resultName } from "./names";
import { installServiceWorker, keepForOffline } from "./offline";
import { hasTransparency, type Photo, readMask, readPhoto } from "./photo";
import { Progress } from "./progress";
import { remarkOn } from "./remarks";
import { checkSize } from "./restore";
import { guideOf, TASKS } from "./tasks";
import { Viewer } from "./viewer";

type State = "loading" | "ready" | "restoring" | "broken";

class Page {
  private readonly pick = find<HTMLButtonElement>("pick");
  private readonly file = find<HTMLInputElement>("file");
  private readonly model = find<HTMLSelectElement>("model");
  private readonly choice = find<HTMLSelectElement>("choice");
  private readonly threads = find<HTMLSelectElement>("threads");
  private readonly restoreButton = find<HTMLButtonElement>("restore");
  private readonly cancelButton = find<HTMLButtonElement>("cancel");
  private readonly paint = find<HTMLButtonElement>("paint");
  private readonly erase = find<HTMLButtonElement>("erase");
  private readonly viewer = new Viewer(() => this.show());
  private readonly progress = new Progress();
  private readonly client = new Client({
    loading: (loaded, total) => this.progress.loading(loaded, total),
    band: (top, band) => this.viewer.showBand(top, band),
    progress: (done, total) => this.progress.tiles(done, total),
  });

  private bundles: Bundle[] = [];
  private bundle: Bundle | null = null;
  private report: EngineReport | null = null;
  private photo: Photo | null = null;
  private restored = false;
  private state: State = "loading";

  constructor() {
    this.listenForPhotos();
    this.listenForMask();
    this.fillEngine();
    this.model.addEventListener("change", () => this.choose(this.model.value));
    find("whole").addEventListener("change", () => this.changed());
    this.restoreButton.addEventListener("click", () => void this.restore());
    this.cancelButton.addEventListener("click", () => {
      this.progress.say("Stopping after this tile");
      this.client.cancel();
    });
    find("save").addEventListener("click", () => void this.attempt(() => this.save()));
  }

  async start(): Promise<void> {
    await this.attempt(async () => {
      this.bundles = await listBundles(document.baseURI);
      this.fillTasks();
      await this.choose(this.bundles[0].manifest.name);
    });
    if (!this.bundle) this.become("broken");
  }

  /** Do what may fail for a reason that the user can act on, and say it in one line. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    this.say("message", null);
    try {
      await work();
    } catch (error) {
      this.say("message", lineOf(error));
    }
  }

  private say(id: "message" | "remark", line: string | null): void {
    const element = find(id);
    element.textContent = line ?? "";
    element.hidden = !line;
  }

  private become(state: State): void {
    this.state = state;
    if (state !== "loading" && state !== "restoring") this.progress.hide();
    this.show();
  }

  /** Bring buttons and words in line with the state. */
  private show(): void {
    const restoring = this.state === "restoring";
    const inpainting = this.bundle?.manifest.task === "inpainting";
    this.restoreButton.disabled = this.state !== "ready" || !this.photo;
    this.cancelButton.hidden = !restoring;
    for (const id of ["tasks", "model", "choice", "threads", "pick", "camera", "whole", "clear"]) {
      find<HTMLFieldSetElement>(id).disabled = restoring;
    }
    for (const button of [this.paint, this.erase, find<HTMLButtonElement>("mask-pick")]) {
      button.disabled = restoring || !this.photo;
    }
    find("brush-tools").hidden = !inpainting;
    find("whole-field").hidden = this.bundle?.manifest.processing.fit !== "resize";
    find("save-box").hidden = !this.restored || restoring;
    const engine = find("engine");
    engine.textContent = engineText(this.state, this.report);
    find("engine-note").textContent = this.report?.note ?? "";
    document.body.dataset.state = this.state;
  }

  // The photo

  private listenForPhotos(): void {
    this.pick.addEventListener("click", () => this.file.click());
    this.file.addEventListener("change", () => {
      const [file] = this.file.files ?? [];
      if (file) void this.load(file, file.name);
      this.file.value = ""; // the same file may be chosen again
    });
    find("camera").addEventListener("click", () => {
      void this.attempt(async () => {
        const taken = await takePhoto();
        if (taken) await this.load(taken, `camera-${timestamp()}.png`);
      });
    });
    document.addEventListener("paste", (event) => {
      const [file] = event.clipboardData?.files ?? [];
      if (file) void this.load(file, file.name || "pasted.png");
    });
    let inside = 0; // a drag enters and leaves every element on its way
    document.addEventListener("dragenter", (event) => {
      event.preventDefault();
      inside += 1;
      document.body.classList.add("dragging");
    });
    document.addEventListener("dragleave", () => {
      inside -= 1;
      if (inside <= 0) document.body.classList.remove("dragging");
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      inside = 0;
      document.body.classList.remove("dragging");
      const [file] = event.dataTransfer?.files ?? [];
      if (file) void this.load(file, file.name);
    });
  }

  private async load(file: Blob, name: string): Promise<void> {
    if (this.state === "restoring") return;
    await this.attempt(async () => {
      const photo = await readPhoto(file, name);
      this.photo = photo;
      this.viewer.showPhoto(photo.image);
      this.stopPainting();
      this.changed();
    });
  }

  /** The photo, the task or the mask is another: a result is one no longer. */
  private changed(): void {
    this.restored = false;
    this.say("remark", null);
    if (this.photo && this.bundle) {
      const { width, height } = this.photo.image;
      const { upscale } = this.bundle.manifest.processing;
      this.viewer.dropResult(width * upscale, height * upscale);
      find("photo-name").textContent = `${this.photo.name}, ${width} × ${height}`;
      find("stats").textContent = "";
      const masked = this.viewer.mask.get() !== null || hasTransparency(this.photo.image);
      this.say("remark", remarkOn(this.photo.image, this.bundle.manifest, masked));
    }
    this.show();
  }

  // The task and what runs it

  private fillTasks(): void {
    const served = new Set(this.bundles.map(({ manifest }) => manifest.task));
    const known = TASKS.map(({ name }) => name);
    const others = [...served].filter((name) => !known.includes(name));
    const order = [...known.filter((name) => served.has(name)), ...others];
    this.bundles.sort((a, b) => order.indexOf(a.manifest.task) - order.indexOf(b.manifest.task));
    order.forEach((task, index) => find("tasks").append(this.optionOf(task, index === 0)));
  }

  private optionOf(task: string, checked: boolean): HTMLElement {
    const guide = guideOf(task);
    const label = document.createElement("label");
    label.className = "option";
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "task", value: task, checked });
    input.addEventListener("change", () => {
      const first = this.bundles.find(({ manifest }) => manifest.task === task);
      if (first) void this.choose(first.manifest.name);
    });
    const title = document.createElement("span");
    const name = document.createElement("b");
    name.textContent = guide.title;
    const id = document.createElement("i");
    id.textContent = ` ${task}`;
    title.append(name, id);
    const suffers = document.createElement("small");
    suffers.textContent = guide.suffers;
    const learned = document.createElement("small");
    learned.className = "learned";
    learned.textContent = guide.learned && `Learned: ${guide.learned}`;
    label.append(input, title, suffers, learned);
    return label;
  }

  private fillEngine(): void {
    const asked = new URLSearchParams(location.search);
    this.threads.append(new Option("automatic", ""));
    for (let n = 1; n <= mostThreads(); n++) this.threads.append(new Option(String(n), String(n)));
    const selects = [
      [this.choice, "engine"],
      [this.threads, "threads"],
    ] as const;
    for (const [select, name] of selects) {
      const value = asked.get(name);
      if (value !== null && [...select.options].some((option) => option.value === value)) {
        select.value = value;
      }
      select.addEventListener("change", () => {
        if (this.bundle) void this.choose(this.bundle.manifest.name);
      });
    }
  }

  /** Load a bundle; the page is ready once it runs. */
  private async choose(name: string): Promise<void> {
    const bundle = this.bundles.find(({ manifest }) => manifest.name === name);
    if (!bundle) return;
    const other = this.bundle !== bundle;
    this.bundle = bundle;
    this.fillModels(bundle);
    if (other) {
      if (bundle.manifest.task !== "inpainting") this.stopPainting();
      this.changed();
    }
    this.report = null;
    this.become("loading");
    await this.attempt(async () => {
      const threads = this.threads.value ? Number(this.threads.value) : null;
      const report = await this.client.open(bundle, this.choice.value as EngineChoice, threads);
      if (!report) return; // another was chosen meanwhile
      this.report = report;
      this.become("ready");
      void this.keep(report);
    });
    const failed = !find("message").hidden;
    if (failed && this.bundle === bundle && this.state === "loading") this.become("broken");
  }

  private fillModels(chosen: Bundle): void {
    const same = this.bundles.filter(({ manifest }) => manifest.task === chosen.manifest.task);
    this.model.replaceChildren(
      ...same.map(({ manifest }) => new Option(manifest.name, manifest.name)),
    );
    this.model.value = chosen.manifest.name;
    find("model-field").hidden = same.length < 2;
  }

  /** What is not kept for lack of room or connection is only missed offline. */
  private async keep(report: EngineReport): Promise<void> {
    try {
      find("offline").hidden = !(await keepForOffline(this.bundles, report.kind));
    } catch (error) {
      find("engine-note").textContent = `not kept for offline use: ${lineOf(error)}`;
    }
  }

  // What is missing

  private listenForMask(): void {
    const toggle = (erasing: boolean) => () => {
      const button = erasing ? this.erase : this.paint;
      const on = button.getAttribute("aria-pressed") !== "true";
      this.viewer.mask.erasing = erasing;
      this.setPainting(on, erasing);
      if (on) this.viewer.scrollIntoView();
    };
    this.paint.addEventListener("click", toggle(false));
    this.erase.addEventListener("click", toggle(true));
    find("clear").addEventListener("click", () => {
      this.viewer.mask.clear();
      this.changed();
    });
    const size = find<HTMLInputElement>("brush");
    size.addEventListener("input", () => {
      this.viewer.brush = Number(size.value);
      find("brush-size").textContent = size.value;
      this.viewer.refreshCursor();
    });
    const input = find<HTMLInputElement>("mask-file");
    find("mask-pick").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      input.value = "";
      if (!file) return;
      void this.attempt(async () => {
        if (!this.photo) return;
        this.viewer.mask.set(await readMask(file, file.name, this.photo.image));
        this.setPainting(true, false);
        this.changed();
      });
    });
  }

  private setPainting(on: boolean, erasing: boolean): void {
    this.paint.setAttribute("aria-pressed", String(on && !erasing));
    this.erase.setAttribute("aria-pressed", String(on && erasing));
    this.viewer.setPainting(on);
  }

  private stopPainting(): void {
    this.viewer.mask.erasing = false;
    this.setPainting(false, false);
  }

  // Restoring and saving

  private async restore(): Promise<void> {
    const { photo, bundle } = this;
    if (!photo || !bundle || this.state !== "ready") return;
    this.restored = false;
    this.stopPainting();
    const fills = bundle.manifest.task === "inpainting";
    const mask = fills ? this.viewer.mask.get() : null;
    const whole = find<HTMLInputElement>("whole").checked;
    find("stats").textContent = "";
    this.become("restoring");
    this.cancelButton.focus({ preventScroll: true });
    this.viewer.scrollIntoView();
    await this.attempt(async () => {
      const { width, height } = photo.image;
      const { upscale } = bundle.manifest.processing;
      checkSize(width * upscale, height * upscale);
      this.viewer.dropResult(width * upscale, height * upscale);
      this.viewer.startResult();
      this.progress.begin();
      const timing = await this.client.restore({ image: photo.image, mask, whole });
      if (timing) {
        this.restored = true;
        this.viewer.finishResult();
        find("stats").textContent = statsText(timing, width * height * upscale ** 2);
      } else {
        find("stats").textContent = "Cancelled.";
      }
    });
    if (!this.restored) {
      const { upscale } = bundle.manifest.processing;
      this.viewer.dropResult(photo.image.width * upscale, photo.image.height * upscale);
    }
    this.become("ready");
    (this.restored ? find("save") : this.restoreButton).focus({ preventScroll: true });
  }

  private async save(): Promise<void> {
    if (!this.photo || !this.restored) return;
    const lossless = find<HTMLSelectElement>("format").value === "png";
    const transparent = hasTransparency(this.photo.image);
    let format = formatOf(this.photo.name, lossless, transparent);
    const blob = await this.viewer.toBlob(format.type, format.quality);
    if (!blob) throw new Error("the browser cannot write so large a picture; fix: crop the photo");
    // A browser that does not write WebP writes PNG instead.
    if (blob.type !== format.type) format = formatOf(this.photo.name, true, transparent);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = resultName(this.photo.name, format);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

function engineText(state: State, report: EngineReport | null): string {
  if (state === "broken") return "Not running";
  if (!report) return "Loading";
  if (report.kind === "webgpu") return "WebGPU";
  return `WebAssembly, SIMD, ${report.threads} thread${report.threads === 1 ? "" : "s"}`;
}

function statsText({ milliseconds, tiles }: Timing, pixels: number): string {
  const megapixels = pixels / 1e6;
  const each = tiles > 1 ? `${tiles} tiles of ${(milliseconds / tiles).toFixed(0)} ms` : "1 tile";
  const rate = (megapixels / (milliseconds / 1000)).toPrecision(3);
  return `Restored in ${milliseconds.toFixed(0)} ms: ${each}, ${megapixels.toFixed(2)} megapixels, ${rate} megapixels a second.`;
}

function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replace(/\D/g, "");
}

const page = new Page();
void page.start();
void installServiceWorker();
