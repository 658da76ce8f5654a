// Elements made of names and text, never of markup.

/** Attributes that could run a script or reach another server are not set by name. */
const REFUSED = /^(on|style$|src|href$|action$|formaction$)/i;

/**
 * An element with attributes and children; text stays text. An attribute that is `null` or `false` is left out, `true`
 * is written empty.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number | boolean | null>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function elementOf(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * The same of SVG.
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number | boolean | null>} [attributes]
 * @param {...Node} children
 * @returns {SVGElementTagNameMap[Name]}
 */
export function svgOf(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  setAttributes(element, attributes);
  element.append(...children);
  return /** @type {SVGElementTagNameMap[Name]} */ (element);
}

/**
 * @param {Element} element
 * @param {Record<string, string | number | boolean | null>} attributes
 */
function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (REFUSED.test(name)) throw new TypeError(`${name} is not set by name`);
    setAttribute(element, name, value);
  }
}

/**
 * Sets an attribute when it is another than it was; `null` and `false` take it away.
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null} value
 */
export function setAttribute(element, name, value) {
  if (value === null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/**
 * Sets an element's text when it is another than it was: what has not changed costs no layout.
 * @param {Element} element one that holds nothing but text
 * @param {string} text
 */
export function setText(element, text) {
  const held = element.firstChild;
  if (held === null) {
    if (text !== "") element.append(text);
  } else if (/** @type {Text} */ (held).data !== text) {
    /** @type {Text} */ (held).data = text;
  }
}

/**
 * Sets one property of an element's own style when it is another than it was.
 * @param {HTMLElement | SVGElement} element
 * @param {string} name
 * @param {string} value
 */
export function setStyle(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

/**
 * A link to elsewhere, which learns nothing of this page.
 * @param {string} address as `webAddress` allows it
 * @param {string} text
 * @returns {HTMLAnchorElement}
 */
export function outwardLink(address, text) {
  const link = elementOf("a", { rel: "noopener noreferrer", referrerpolicy: "no-referrer", target: "_blank" }, text);
  link.href = address;
  return link;
}

/**
 * A link inside these pages.
 * @param {string} fragment beginning with `#`
 * @param {Record<string, string | number | boolean | null>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLAnchorElement}
 */
export function inwardLink(fragment, attributes, ...children) {
  if (!fragment.startsWith("#")) throw new TypeError("a link inside these pages is a fragment");
  const link = elementOf("a", attributes, ...children);
  link.href = fragment;
  return link;
}
