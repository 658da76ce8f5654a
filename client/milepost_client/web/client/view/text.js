// What a person reads: durations, counts, ages and states as words. Pure; times in milliseconds.

const NONE = "–";
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const numbers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const wholes = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** What stands in front of each state's word, so that colour never speaks alone. */
const SIGNS = Object.freeze({
  idle: "○",
  queued: "○",
  unknown: "○",
  running: "◐",
  cancelling: "⊘",
  cancelled: "⊘",
  stalled: "◌",
  completed: "✓",
  failed: "✕",
});

/** The states after which nothing changes by itself. */
export const ENDS = new Set(["completed", "failed", "cancelled"]);

/**
 * A status's sign.
 * @param {string} status
 * @returns {string}
 */
export const signOf = (status) => SIGNS[/** @type {keyof typeof SIGNS} */ (status)] ?? SIGNS.unknown;

/**
 * What a job's pill says: its status, or that it is stalled. One that waits for its turn has nothing to tell meanwhile.
 * @param {{status: string | null, stalled?: boolean | null}} job
 * @returns {string}
 */
export function stateOf({ status, stalled }) {
  if (stalled && status !== null && status !== "queued" && !ENDS.has(status)) return "stalled";
  return status !== null && Object.hasOwn(SIGNS, status) ? status : "unknown";
}

/**
 * A clock's reading: `0:02`, `5:12`, `1:02:11`, `3 d 1:02:11`. Less than nothing is nothing.
 * @param {number} time
 * @returns {string}
 */
export function clockTime(time) {
  const seconds = Math.max(0, Math.floor(time / SECOND));
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor(seconds / 3_600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  const tail = `${minutes}:${two(seconds % 60)}`;
  if (days > 0) return `${days} d ${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : tail;
}

/** @param {number} number */
const two = (number) => String(number).padStart(2, "0");

/**
 * A duration in the one unit that says enough: `40 ms`, `1.2 s`, `12 s`, `4 min`, `1.5 h`, `3 d`.
 * @param {number} time
 * @returns {string}
 */
export function roughly(time) {
  const positive = Math.max(0, time);
  if (positive < 0.95 * SECOND) return `${Math.round(positive)} ms`;
  if (positive < 9.95 * SECOND) return `${(positive / SECOND).toFixed(1)} s`;
  if (positive < 59.5 * SECOND) return `${Math.round(positive / SECOND)} s`;
  if (positive < 59.5 * MINUTE) return `${Math.round(positive / MINUTE)} min`;
  if (positive < 9.95 * HOUR) return `${trimmed(positive / HOUR)} h`;
  if (positive < 47.5 * HOUR) return `${Math.round(positive / HOUR)} h`;
  return `${wholes.format(Math.round(positive / DAY))} d`;
}

/**
 * How long something took: in one unit below a minute, where a clock's reading says too little.
 * @param {number} time
 * @returns {string}
 */
export const lasting = (time) => (time < 59.5 * SECOND ? roughly(time) : clockTime(time));

/** @param {number} value */
const trimmed = (value) => String(Math.round(value * 10) / 10);

/**
 * Time left, counted down in steps that do not flicker: `8 s left`, `3 min left`; nothing for more than a year.
 * @param {number | null} time
 * @returns {string}
 */
export function timeLeft(time) {
  if (time === null || !Number.isFinite(time) || time > 365 * DAY) return "";
  return time < 9.95 * SECOND ? `${Math.ceil(Math.max(0, time) / SECOND)} s left` : `${roughly(time)} left`;
}

/**
 * How long ago: `now`, `12 s ago`, `4 min ago`, `2 h ago`, `3 d ago`.
 * @param {number} time
 * @returns {string}
 */
export function ago(time) {
  // below this nothing but the network's own delay is seen
  if (time < 3 * SECOND) return "now";
  return `${silence(time)} ago`;
}

/**
 * A span as whole units, never rounded up: `12 s`, `4 min`, `2 h`, `3 d`.
 * @param {number} time
 * @returns {string}
 */
export function silence(time) {
  if (time < MINUTE) return `${Math.max(0, Math.floor(time / SECOND))} s`;
  if (time < HOUR) return `${Math.floor(time / MINUTE)} min`;
  if (time < 2 * DAY) return `${Math.floor(time / HOUR)} h`;
  return `${wholes.format(Math.floor(time / DAY))} d`;
}

/**
 * A number with its thousands told apart: `301,220`, `0.25`; from 10 billion on in short, `12.3B`.
 * @param {number} value
 * @returns {string}
 */
export const count = (value) => (Math.abs(value) < 1e10 ? numbers : compact).format(value);

/**
 * How far, as whole percent, rounded down: 100 % is only said of what is done.
 * @param {number} fraction 0..1
 * @returns {string}
 */
export function percent(fraction) {
  // 0.29 * 100 is 28.999…
  const whole = Math.floor(Math.min(1, Math.max(0, fraction)) * 100 + 1e-9);
  return `${whole} %`;
}

/**
 * A speed: `88/s`, `9.1k/s`, `4.2/min`, `1.5/h`.
 * @param {number | null} perSecond
 * @returns {string}
 */
export function speed(perSecond) {
  if (perSecond === null || !(perSecond > 0)) return "";
  if (perSecond >= 10_000) return `${compact.format(perSecond).toLowerCase()}/s`;
  if (perSecond >= 9.95) return `${wholes.format(perSecond)}/s`;
  if (perSecond >= 0.95) return `${trimmed(perSecond)}/s`;
  if (perSecond * 60 >= 0.95) return `${trimmed(perSecond * 60)}/min`;
  return `${trimmed(perSecond * 3_600)}/h`;
}

/**
 * A fraction's speed: `4.1 %/min`, `2 %/s`, `0.5 %/h`.
 * @param {number | null} perSecond of a fraction, 0..1
 * @returns {string}
 */
export function fractionSpeed(perSecond) {
  if (perSecond === null || !(perSecond > 0)) return "";
  const percents = perSecond * 100;
  if (percents >= 0.995) return `${trimmed(percents)} %/s`;
  if (percents * 60 >= 0.095) return `${trimmed(percents * 60)} %/min`;
  return `${trimmed(percents * 3_600)} %/h`;
}

/**
 * Bytes: `812 B`, `4.1 MB`.
 * @param {number} size
 * @returns {string}
 */
export function bytes(size) {
  if (size < 1_000) return `${wholes.format(size)} B`;
  const power = Math.min(5, Math.floor(Math.log10(size) / 3));
  return `${trimmed(size / 1_000 ** power)} ${"kMGTP"[power - 1]}B`;
}

/**
 * What a node has done: `519 of 812 files`, `301,220 rows`; nothing when it counts nothing.
 * @param {{rowCount?: number | null, total?: number | null, unit?: string | null}} node
 * @returns {string}
 */
export function amount({ rowCount, total, unit }) {
  if (rowCount === undefined || rowCount === null) return "";
  const of = total === undefined || total === null ? "" : ` of ${count(total)}`;
  return `${count(rowCount)}${of}${unit ? ` ${plain(unit)}` : ""}`;
}

/**
 * A time of this machine's clock: `12:03:11`; with its day when that is not `now`'s.
 * @param {number} time
 * @param {number} now
 * @returns {string}
 */
export function timeOfDay(time, now) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return NONE;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date(now).toDateString()) return clock;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

/**
 * A time of the wire, RFC 3339, as milliseconds; null when there is none.
 * @param {string | null | undefined} at
 * @returns {number | null}
 */
export function moment(at) {
  if (typeof at !== "string") return null;
  const time = Date.parse(at);
  return Number.isNaN(time) ? null : time;
}

// C0 but tab and newline, DEL, C1; marks and overrides of direction; what cannot be seen or breaks lines by itself
const UNSEEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/**
 * Text of a payload, ready to be shown: what would be invisible or would turn other text around is written out,
 * `\u202e` as the six characters that name it.
 * @param {unknown} text
 * @returns {string}
 */
export function plain(text) {
  const words = typeof text === "string" ? text : String(text ?? "");
  return words.replace(UNSEEN, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * The same on one line, cut when it is long; never inside a character.
 * @param {unknown} text
 * @param {number} [most] characters
 * @returns {string}
 */
export function brief(text, most = 300) {
  const line = plain(typeof text === "string" ? text.slice(0, most * 2) : text).replace(/\s+/g, " ").trim();
  if (line.length <= most) return line;
  return `${line.slice(0, most).replace(/[\ud800-\udbff]$/, "")}…`;
}

/**
 * A web page's or file's address that may become a link; null for every other scheme, and for what is no address.
 * @param {unknown} text
 * @returns {string | null}
 */
export function webAddress(text) {
  if (typeof text !== "string" || !/^https?:\/\//i.test(text)) return null;
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** A list that holds no other one stands on one line of at most so many characters. */
const LINE = 60;

/**
 * A value as indented JSON, for reading; a text as it is.
 * @param {unknown} value
 * @returns {string}
 */
export function json(value) {
  if (typeof value === "string") return plain(value);
  try {
    return plain(written(value, ""));
  } catch {
    // a payload can be nested deeper than any program that goes down into it
    return "nested too deeply to be shown";
  }
}

/**
 * @param {unknown} value
 * @param {string} indent
 * @returns {string}
 */
function written(value, indent) {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  const isList = Array.isArray(value);
  const isFlat = isList && value.every((item) => typeof item !== "object" || item === null);
  const line = isFlat ? `[${value.map((item) => JSON.stringify(item)).join(", ")}]` : "";
  if (isFlat && line.length <= LINE) return line;
  const inner = `${indent}  `;
  const parts = isList
    ? value.map((item) => written(item, inner))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${written(item, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  if (parts.length === 0) return open + close;
  return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}`;
}
