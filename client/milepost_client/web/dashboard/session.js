// The token of this tab: out of the URL's fragment or the sign-in box, kept until the tab closes, and nowhere else.

import { parse, write } from "./route.js";

const KEY = "milepost.token";

/**
 * Takes a token out of the address bar, before anything else can see it there.
 * @returns {boolean} whether there was one
 */
export function takeFromFragment() {
  const { place, token } = parse(location.hash);
  if (token === null) return false;
  history.replaceState(null, "", `${location.pathname}${write(place)}`);
  keep(token);
  return true;
}

/**
 * @returns {string | null}
 */
export function token() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    // a browser that keeps nothing for this page: the token is good for as long as the page is
    return held;
  }
}

/** @type {string | null} */
let held = null;

/** @param {string} value */
export function keep(value) {
  held = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // see above
  }
}

/** The tab has no token any more. */
export function forget() {
  held = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // see above
  }
}
