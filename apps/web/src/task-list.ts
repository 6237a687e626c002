/** The tasks of the bundles that are served, with their guide, and the models of the one chosen. */

import type { Bundle } from "./bundles";
import { find } from "./dom";
import { guideOf, TASKS } from "./tasks";

export class TaskList {
  private readonly model = find<HTMLSelectElement>("model");
  private bundles: Bundle[] = [];

  /** @param choose gets the bundle that the user chose. */
  constructor(private readonly choose: (bundle: Bundle) => void) {
    this.model.addEventListener("change", () => {
      const chosen = this.bundles.find(({ manifest }) => manifest.name === this.model.value);
      if (chosen) this.choose(chosen);
    });
  }

  /** List the tasks of bundles; return the bundle that stands first. */
  fill(bundles: Bundle[]): Bundle {
    const served = new Set(bundles.map(({ manifest }) => manifest.task));
    const known = TASKS.map(({ name }) => name);
    const others = [...served].filter((name) => !known.includes(name));
    const order = [...known.filter((name) => served.has(name)), ...others];
    this.bundles = [...bundles].sort(
      (a, b) => order.indexOf(a.manifest.task) - order.indexOf(b.manifest.task),
    );
    order.forEach((task, index) => find("tasks").append(this.optionOf(task, index === 0)));
    return this.bundles[0];
  }

  /** List the models of a bundle's task. */
  show(chosen: Bundle): void {
    const same = this.bundles.filter(({ manifest }) => manifest.task === chosen.manifest.task);
    this.model.replaceChildren(
      ...same.map(({ manifest }) => new Option(manifest.name, manifest.name)),
    );
    this.model.value = chosen.manifest.name;
    find("model-field").hidden = same.length < 2;
  }

  private optionOf(task: string, checked: boolean): HTMLElement {
    const guide = guideOf(task);
    const label = element("label", "option");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "task", value: task, checked });
    input.addEventListener("change", () => {
      const first = this.bundles.find(({ manifest }) => manifest.task === task);
      if (first) this.choose(first);
    });
    const words = element("span", "words");
    const title = document.createElement("span");
    title.append(element("b", "", guide.title), element("i", "", ` ${task}`));
    words.append(title, element("small", "", guide.suffers));
    if (guide.learned) words.append(element("small", "learned", `Learned: ${guide.learned}`));
    label.append(input, words);
    if (guide.example) {
      // Before and after; its words are beside it.
      label.append(Object.assign(new Image(404, 200), { src: guide.example, alt: "" }));
    }
    return label;
  }
}

function element(kind: string, className = "", text = ""): HTMLElement {
  return Object.assign(document.createElement(kind), { className, textContent: text });
}
