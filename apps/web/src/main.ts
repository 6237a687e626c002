/** The page: what the user does, and what is shown of it. */

import { type Bundle, listServed, type Served } from "./bundles";
import { Client } from "./client";
import { find } from "./dom";
import { mostThreads } from "./engine";
import { lineOf } from "./errors";
import { remarkOnFaces } from "./faces/restore";
import { FacesOption } from "./faces-option";
import { listenForPhotos } from "./input";
import type { EngineChoice, EngineReport } from "./messages";
import { formatOf, resultName } from "./names";
import { installServiceWorker, keepForOffline } from "./offline";
import { hasTransparency, type Photo, readMask, readPhoto } from "./photo";
import { Progress } from "./progress";
import { remarkOn } from "./remarks";
import { checkSize } from "./restore";
import { TaskList } from "./task-list";
import { Viewer } from "./viewer";
import { engineText, outcomeText } from "./words";

type State = "loading" | "ready" | "restoring" | "broken";

/** What does not change while a photo is restored. */
const FIXED = ["tasks", "model", "faces", "choice", "threads", "pick", "camera", "whole", "clear"];

class Page {
  private readonly choice = find<HTMLSelectElement>("choice");
  private readonly threads = find<HTMLSelectElement>("threads");
  private readonly restoreButton = find<HTMLButtonElement>("restore");
  private readonly cancelButton = find<HTMLButtonElement>("cancel");
  private readonly paint = find<HTMLButtonElement>("paint");
  private readonly erase = find<HTMLButtonElement>("erase");
  private readonly viewer = new Viewer(() => this.painted());
  private readonly progress = new Progress();
  private readonly tasks = new TaskList((bundle) => void this.choose(bundle));
  private readonly faces = new FacesOption(() => {
    this.changed();
    if (this.bundle) void this.choose(this.bundle);
  });
  private readonly client = new Client({
    loading: (loaded, total) => this.progress.loading(loaded, total),
    part: (left, top, part) => this.viewer.showPart(left, top, part),
    progress: (phase, done, total) => this.progress.steps(phase, done, total),
  });

  private served: Served | null = null;
  private bundle: Bundle | null = null;
  private report: EngineReport | null = null;
  private photo: Photo | null = null;
  private restored = false;
  private state: State = "loading";

  constructor() {
    listenForPhotos(
      (file, name) => void this.load(file, name),
      (work) => this.attempt(work),
    );
    this.listenForMask();
    this.fillEngine();
    find("whole").addEventListener("change", () => this.changed());
    this.restoreButton.addEventListener("click", () => void this.restore());
    this.cancelButton.addEventListener("click", () => {
      this.progress.say("Stopping after this step");
      this.client.cancel();
    });
    find("save").addEventListener("click", () => void this.attempt(() => this.save()));
  }

  async start(): Promise<void> {
    await this.attempt(async () => {
      this.served = await listServed(document.baseURI);
      this.faces.offer(this.served);
      await this.choose(this.tasks.fill(this.served.bundles));
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
    const resizes = this.bundle?.manifest.processing.fit === "resize";
    this.restoreButton.disabled = this.state !== "ready" || !this.photo;
    this.restoreButton.hidden = restoring;
    // Once there is a result, saving it is what comes next.
    this.restoreButton.classList.toggle("secondary", this.restored);
    this.cancelButton.hidden = !restoring;
    for (const id of FIXED) find<HTMLFieldSetElement>(id).disabled = restoring;
    for (const button of [this.paint, this.erase, find<HTMLButtonElement>("mask-pick")]) {
      button.disabled = restoring || !this.photo;
    }
    find("brush-tools").hidden = this.bundle?.manifest.task !== "inpainting";
    find("whole-field").hidden = !resizes || this.faces.files() !== null;
    for (const id of ["save", "format"]) find(id).hidden = !this.restored || restoring;
    find("engine").textContent = this.state === "broken" ? "Not running" : engineText(this.report);
    find("engine-note").textContent = this.report?.note ?? "";
    document.body.dataset.state = this.state;
  }

  // The photo

  private async load(file: Blob, name: string): Promise<void> {
    if (this.state === "restoring") return;
    await this.attempt(async () => {
      const photo = await readPhoto(file, name);
      this.photo = photo;
      this.viewer.showPhoto(photo.image);
      this.stopPainting();
      find("photo-name").textContent = `${name}, ${photo.image.width} × ${photo.image.height}`;
      this.changed();
    });
  }

  /** The photo, the task or the mask is another: a result is one no longer. */
  private changed(): void {
    this.restored = false;
    this.say("remark", null);
    if (this.photo && this.bundle) {
      const { manifest } = this.bundle;
      const { upscale } = manifest.processing;
      this.viewer.dropResult(this.photo.image.width * upscale, this.photo.image.height * upscale);
      find("stats").textContent = "";
      const masked = this.viewer.mask.get() !== null || hasTransparency(this.photo.image);
      // Faces that are found are brought to the size and the place that their model learned.
      const ofFaces = this.faces.files()?.bundle === this.bundle;
      this.say("remark", ofFaces ? null : remarkOn(this.photo.image, manifest, masked));
    }
    this.show();
  }

  // The task and what runs it

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
        if (this.bundle) void this.choose(this.bundle);
      });
    }
  }

  /** Load a bundle; the page is ready once it runs. */
  private async choose(bundle: Bundle): Promise<void> {
    const other = this.bundle !== bundle;
    this.bundle = bundle;
    this.tasks.show(bundle);
    this.faces.show(bundle);
    if (other) {
      if (bundle.manifest.task !== "inpainting") this.stopPainting();
      this.changed();
    }
    this.report = null;
    this.become("loading");
    await this.attempt(async () => {
      const threads = this.threads.value ? Number(this.threads.value) : null;
      const choice = this.choice.value as EngineChoice;
      const report = await this.client.open(bundle, this.faces.files(), choice, threads);
      if (!report) return; // another was chosen meanwhile
      this.report = report;
      this.become("ready");
      void this.keep(report);
    });
    const failed = !find("message").hidden;
    if (failed && this.bundle === bundle && this.state === "loading") this.become("broken");
  }

  /** What is not kept for lack of room or connection is only missed offline. */
  private async keep(report: EngineReport): Promise<void> {
    if (!this.served) return;
    try {
      find("offline").hidden = !(await keepForOffline(this.served, report.kind));
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

  /** After a stroke of the brush: what was restored by another mask is no result of this one. */
  private painted(): void {
    if (this.restored) this.changed();
    else this.say("remark", null); // that nothing says what is missing
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
    const { upscale } = bundle.manifest.processing;
    const [width, height] = [photo.image.width * upscale, photo.image.height * upscale];
    find("stats").textContent = "";
    this.become("restoring");
    this.cancelButton.focus({ preventScroll: true });
    this.viewer.scrollIntoView();
    await this.attempt(async () => {
      checkSize(width, height);
      this.viewer.dropResult(width, height);
      this.viewer.startResult();
      this.progress.begin();
      const outcome = await this.client.restore({ image: photo.image, mask, whole });
      if (outcome?.faces) this.say("remark", remarkOnFaces(outcome.faces));
      this.restored = outcome !== null && outcome.tiles + (outcome.faces?.restored ?? 0) > 0;
      if (outcome && this.restored) {
        this.viewer.finishResult();
        find("stats").textContent = outcomeText(outcome, width * height);
      } else {
        find("stats").textContent = outcome ? "The photo stays as it is." : "Cancelled.";
      }
    });
    if (!this.restored) this.viewer.dropResult(width, height);
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

const page = new Page();
void page.start();
void installServiceWorker();
