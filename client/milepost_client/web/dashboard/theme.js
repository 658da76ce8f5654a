// Light or dark: the system's choice, or this browser's own.

const KEY = "milepost.theme";

/** @typedef {"light" | "dark"} Theme */

/** What is asked for here, null for what the system says. */
const chosen = () => {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
};

/** @returns {Theme} what is shown */
export function theme() {
  const own = chosen();
  if (own === "light" || own === "dark") return own;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Shows what was chosen before. */
export function applyTheme() {
  const own = chosen();
  if (own === "light" || own === "dark") document.documentElement.dataset.theme = own;
}

/** The other one from now on. @returns {Theme} */
export function toggleTheme() {
  const other = theme() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = other;
  try {
    localStorage.setItem(KEY, other);
  } catch {
    // a browser that keeps nothing shows it until the page is closed
  }
  return other;
}
