/**
 * @typedef {string | (() => string | Promise<string>)} Token a JWT, or what gives one whenever it is called
 * @typedef {object} Grant what a token says of itself
 * @property {string} tenant
 * @property {string[]} scope
 * @property {(string | number)[] | null} jobs null: all of them
 * @property {number} expiresAt milliseconds since 1970
 */

/**
 * What a token's payload says; only the hub can tell whether it is true. Null when it cannot be read.
 * @param {string} token
 * @returns {Grant | null}
 */
export function readToken(token) {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    const { tenant, exp, jobs, scope = "watch" } = claims;
    if (typeof tenant !== "string" || !Number.isFinite(exp)) return null;
    const words = typeof scope === "string" ? scope.split(" ") : scope;
    return { tenant, scope: words.map(String), jobs: Array.isArray(jobs) ? jobs : null, expiresAt: exp * 1000 };
  } catch {
    return null;
  }
}

/**
 * A token, asked for anew where that is possible. Rejects with what the function threw, or a TypeError for no string.
 * @param {Token} token
 * @param {number} most milliseconds that the function may take
 * @returns {Promise<string>}
 */
export async function askToken(token, most) {
  if (typeof token === "string") return token;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no token within ${most / 1000} s`)), most);
  });
  try {
    const told = await Promise.race([token(), late]);
    if (typeof told !== "string") throw new TypeError("the token function gave no string");
    return told;
  } finally {
    clearTimeout(timer);
  }
}
