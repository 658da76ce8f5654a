// The style sheet of what is drawn of a job: of the dashboard, and of `<milepost-job>` in its shadow root.

const CSS = `
:root, :host {
  --page: light-dark(#f6f7f9, #0e1116);
  --panel: light-dark(#ffffff, #161b22);
  --line: light-dark(#d9dee5, #2b323c);
  --track: light-dark(#e6eaef, #2b323c);
  --text: light-dark(#14181d, #e7eaef);
  --quiet: light-dark(#56606c, #9aa5b3);
  --running: light-dark(#0a5fc4, #6cb2ff);
  --completed: light-dark(#17753f, #55cf88);
  --failed: light-dark(#bf2c27, #ff8179);
  --waiting: light-dark(#855600, #efb645);
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif;
}
:host {
  display: block;
  box-sizing: border-box;
  padding: 16px;
  border: 1px solid var(--line);
  border-radius: 8px;
  background: var(--panel);
  color: var(--text);
  font: 400 14px/20px var(--sans);
  font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere;
}
:host([hidden]) { display: none; }
*, *::before, *::after { box-sizing: border-box; }
:host button {
  min-height: 32px;
  padding: 0 12px;
  border: 1px solid currentColor;
  border-radius: 6px;
  background: transparent;
  color: inherit;
  font: inherit;
  cursor: pointer;
}
:host :focus-visible { outline: 2px solid var(--running); outline-offset: 2px; border-radius: 4px; }
[hidden] { display: none !important; }

[data-state] { --tone: var(--quiet); }
[data-state="running"] { --tone: var(--running); }
[data-state="completed"] { --tone: var(--completed); }
[data-state="failed"] { --tone: var(--failed); }
[data-state="cancelling"], [data-state="cancelled"], [data-state="stalled"] { --tone: var(--waiting); }

.unseen {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}
/* a payload's own direction is found in it and ends with it; where it stands is the page's affair */
.said { unicode-bidi: plaintext; text-align: left; }
.cut { position: relative; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; }
.quiet { color: var(--quiet); }
.mono { font-family: var(--mono); font-size: 12px; }

.sign {
  flex: none;
  width: 14px;
  height: 14px;
  color: var(--tone);
  fill: none;
  stroke: currentColor;
  stroke-width: 1.75;
  stroke-linecap: round;
  stroke-linejoin: round;
}
.sign[data-state="running"] .mark { fill: currentColor; stroke: none; }
.sign[data-state="stalled"] .ring { stroke-dasharray: 2.4 3.62; }
.sign[data-state="completed"], .sign[data-state="failed"] { stroke-width: 2.25; }
@media (prefers-reduced-motion: no-preference) {
  .sign[data-state="running"] { animation: turn 3s steps(12) infinite; }
  .still .sign { animation-play-state: paused; }
  .bar:not([data-fast]) .fill { transition: transform 240ms linear; }
}
@keyframes turn { to { transform: rotate(1turn); } }

.pill {
  display: inline-flex;
  align-items: center;
  gap: 6px;
  height: 24px;
  padding: 0 10px 0 7px;
  border-radius: 12px;
  background: color-mix(in srgb, var(--tone) 9%, var(--panel));
  color: var(--tone);
  font-weight: 600;
  font-size: 12px;
  line-height: 16px;
  white-space: nowrap;
}

.bar {
  display: block;
  height: 6px;
  border-radius: 3px;
  overflow: hidden;
  background: var(--track);
}
.bar .fill {
  display: block;
  width: 100%;
  height: 100%;
  background: var(--tone);
  transform: scaleX(0);
  transform-origin: left;
}
.bar[data-known="false"] { opacity: 0.6; }

/* clocks that stand still look so */
.still .clock { color: var(--quiet); font-style: italic; }

.head { display: grid; gap: 12px; }
.head .facts { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 20px; min-height: 24px; }
.head .facts > :empty { display: none; }
.head .progress { display: grid; grid-template-columns: 1fr 52px; align-items: center; gap: 12px; }
.head .progress .bar { height: 10px; border-radius: 5px; }
.head .progress .percent { text-align: right; white-space: nowrap; font-weight: 600; }

.graph { position: relative; overflow: auto; max-height: 480px; padding: 4px; scrollbar-width: thin; }
.graph .stage { position: relative; }
.graph svg.edges { position: absolute; inset: 0; overflow: visible; pointer-events: none; }
.graph .edge { fill: none; stroke: color-mix(in srgb, var(--quiet) 55%, var(--panel)); stroke-width: 1.5; }
.graph .edge[data-state] { stroke: var(--tone); }
.graph .tip { fill: color-mix(in srgb, var(--quiet) 55%, var(--panel)); }
.graph .tip[data-state] { fill: var(--tone); }
.graph ol { list-style: none; margin: 0; padding: 0; }
.graph .node {
  position: absolute;
  left: 0;
  top: 0;
  width: 184px;
  height: 68px;
  padding: 10px 12px 14px;
  border: 1px solid color-mix(in srgb, var(--tone) 60%, var(--panel));
  border-radius: 8px;
  background: var(--panel);
  overflow: hidden;
  contain: strict;
}
.graph .node[data-state="idle"] { border-color: var(--line); }
.graph .node[data-state="running"] { background: color-mix(in srgb, var(--tone) 5%, var(--panel)); }
.graph .node[data-state="failed"] { background: color-mix(in srgb, var(--tone) 7%, var(--panel)); }
.graph .node .first { display: flex; align-items: center; gap: 8px; }
.graph .node .name { font-weight: 600; }
.graph .node[data-state="idle"] .name { font-weight: 400; color: var(--quiet); }
.graph .node .second {
  display: flex;
  justify-content: space-between;
  gap: 8px;
  margin-top: 2px;
  padding-left: 22px;
  font-size: 12px;
  color: var(--quiet);
}
.graph .node .second .speed { white-space: nowrap; flex: none; }
.graph .node .bar { position: absolute; left: 0; right: 0; bottom: 0; height: 4px; border-radius: 0; }
.graph .node[data-state="idle"] .bar { visibility: hidden; }

.nodes { list-style: none; margin: 0; padding: 0; }
.nodes li {
  display: grid;
  grid-template-columns: 14px minmax(96px, 3fr) minmax(88px, 3fr) minmax(48px, 2fr) 44px 64px 84px;
  align-items: center;
  gap: 12px;
  height: 36px;
  border-top: 1px solid var(--line);
  white-space: nowrap;
  /* what changes in a row moves nothing else */
  contain: strict;
}
.nodes li:first-child { border-top: 0; }
.nodes .name { display: block; }
.nodes .number { text-align: right; }
.nodes li[data-state="idle"] .bar { visibility: hidden; }
.nodes li[data-state="idle"] .name { color: var(--quiet); }
.nodes .trouble { color: var(--failed); }
@container (max-width: 640px) {
  .nodes li {
    grid-template-columns: 14px minmax(0, 1fr) auto 44px;
    grid-template-rows: 20px 20px;
    gap: 0 10px;
    height: 56px;
    align-content: center;
  }
  .nodes .bar { grid-area: 2 / 2 / 3 / 3; }
  .nodes .amount { grid-area: 1 / 3 / 2 / 5; text-align: right; }
  .nodes .part { grid-area: 2 / 4 / 3 / 5; }
  .nodes .rate { grid-area: 2 / 3 / 3 / 4; }
  .nodes .left { display: none; }
  .nodes li[data-state="idle"] { height: 40px; grid-template-rows: 20px; }
}
.shown { display: grid; grid-template-columns: minmax(0, 1fr); gap: 12px; }
.shown h2 { margin: 0; font-size: 16px; line-height: 24px; font-weight: 600; }
.wide { container-type: inline-size; }
.note { color: var(--waiting); }
.broken { color: var(--failed); font-weight: 600; }
`;

/** @type {CSSStyleSheet | null} */
let sheet = null;

/**
 * The sheet, made once and shared by everybody who adopts it. A page's Content-Security-Policy does not forbid it.
 * @returns {CSSStyleSheet}
 */
export function look() {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
