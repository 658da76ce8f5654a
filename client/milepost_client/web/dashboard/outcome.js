// What came of a job: its error, its result, what it made.

import { elementOf, outwardLink, setAttribute } from "../client/view/element_of.js";
import { brief, bytes, count, json, webAddress } from "../client/view/text.js";

/**
 * @typedef {import("../client/shapes.js").JobView} JobView
 * @typedef {import("../client/shapes.js").Artifact} Artifact
 * @typedef {import("../client/shapes.js").EventError} EventError
 */

/** Lines of JSON shown without being asked for. */
const OPEN_LINES = 24;

/** Characters of JSON shown at all: more would make the page slow, and nobody reads it. */
const MOST_JSON = 200_000;

/** Artifacts shown, and how many of them may need to be scrolled to. */
const MOST_ARTIFACTS = 200;
const IN_VIEW = 8;

/** The error: its message first, the rest behind a fold. */
export class ErrorView {
  #last = /** @type {EventError | null} */ (null);
  #lastWhere = "";
  element = elementOf("section", { class: "panel error", "aria-label": "error", hidden: true });

  /**
   * @param {EventError | null} error
   * @param {string} where names of the nodes that failed
   */
  show(error, where) {
    if (error === this.#last && where === this.#lastWhere) return;
    this.#last = error;
    this.#lastWhere = where;
    this.element.hidden = error === null && where === "";
    const words = brief(error?.message ?? "", 2_000) || "No reason was given.";
    this.element.replaceChildren(elementOf("h2", {}, "Failed"), elementOf("p", { class: "said message" }, words));
    if (where !== "") this.element.append(elementOf("p", { class: "quiet said" }, `Failed in ${where}`));
    const details = error?.details ?? null;
    if (details !== null && details !== "") this.element.append(folded("Details", detailsText(details), false));
  }
}

/** @param {unknown} details an error's, whose lines are a traceback more often than not */
const detailsText = (details) => {
  const only = typeof details === "object" && details !== null ? Object.entries(details) : [];
  return only.length === 1 && typeof only[0][1] === "string" ? json(only[0][1]) : json(details);
};

/** The result as JSON, which is text here. */
export class ResultView {
  #last = /** @type {unknown} */ (undefined);
  element = elementOf("div", {});

  /** @param {unknown} result */
  show(result) {
    if (result === this.#last) return;
    this.#last = result;
    const text = json(result);
    this.element.replaceChildren(folded("Result", text, text.split("\n", OPEN_LINES + 1).length <= OPEN_LINES));
  }
}

/**
 * @param {string} title
 * @param {string} text
 * @param {boolean} open
 */
function folded(title, text, open) {
  const cut = text.length > MOST_JSON;
  const shown = cut ? `${text.slice(0, MOST_JSON)}\n… ${count(text.length - MOST_JSON)} more characters` : text;
  const pre = elementOf("pre", { class: "said", tabindex: 0, role: "region", "aria-label": title }, shown);
  const size = elementOf("span", { class: "quiet" }, ` ${bytes(text.length)}`);
  return elementOf("details", { open }, elementOf("summary", {}, title, size), pre);
}

/** What the job made: a name, and a link where it leads to the web. */
export class ArtifactsView {
  #last = /** @type {readonly Artifact[]} */ ([]);
  #list = elementOf("ul", { class: "artifacts" });
  #more = elementOf("p", { class: "quiet" });
  element = elementOf("div", { role: "region", "aria-label": "artifacts" }, this.#list, this.#more);

  /** @param {readonly Artifact[]} artifacts */
  show(artifacts) {
    if (artifacts === this.#last) return;
    this.#last = artifacts;
    // what scrolls can be reached by keyboard
    setAttribute(this.element, "tabindex", artifacts.length > IN_VIEW ? 0 : null);
    this.#list.replaceChildren(...artifacts.slice(0, MOST_ARTIFACTS).map(artifactLine));
    const over = artifacts.length - MOST_ARTIFACTS;
    this.#more.replaceChildren(over > 0 ? `and ${count(over)} more` : "");
  }
}

/** @param {Artifact} artifact */
function artifactLine(artifact) {
  const name = brief(artifact.name) || "without a name";
  const address = webAddress(artifact.uri);
  const what = address === null ? elementOf("span", { class: "said name" }, name) : outwardLink(address, name);
  const size = [artifact.bytes, artifact.size].find((value) => typeof value === "number");
  const told = typeof size === "number" && size >= 0 ? bytes(size) : "";
  const uri = brief(artifact.uri, 1_000);
  return elementOf(
    "li",
    { title: uri },
    elementOf("div", { class: "first" }, what, elementOf("span", { class: "quiet" }, told)),
    elementOf("div", { class: "said mono quiet cut" }, uri),
  );
}
