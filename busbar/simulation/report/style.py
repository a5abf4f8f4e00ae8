"""How the report looks, in light and in dark."""

STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #5d6878; --rule: #e3e7ec; --alarm: #b3261e;
  --c0: #2f6fde; --c1: #e8833a; --c2: #2a9d77; --c3: #9a55c7; --c4: #c79a1b; --c5: #3a9fc4; --c6: #cf4f68;
  --c7: #76808f; --ok: #9cc9b4; --closed: #cfe3d9; --open: #d64550; --half: #f0b429; --fault: #5d6878; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161c; --card: #1a2029; --ink: #e6eaf0; --soft: #98a3b3; --rule: #2b3340; --alarm: #ff8a80;
  --c0: #6fa1ff; --c1: #f5a263; --c2: #52c79d; --c3: #c08be8; --c4: #e0bb4c; --c5: #67c3e6; --c6: #ee7d93;
  --c7: #9aa5b5; --ok: #3f7d63; --closed: #2b4d40; --open: #ef5b66; --half: #f3c04b; --fault: #98a3b3; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; text-wrap: balance; }
h2 { margin: 0 0 4px; font-size: 20px; } h3 { margin: 22px 0 2px; font-size: 14px; font-weight: 600; }
p { margin: 4px 0; } .soft { color: var(--soft); }
section { margin-top: 24px; padding: 20px 22px; background: var(--card); border: 1px solid var(--rule);
  border-radius: 10px; }
.alarm { border-color: var(--alarm); } .alarm h2 { color: var(--alarm); }
pre { margin: 8px 0 0; overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; margin: 18px 0 0; }
.tiles div { padding: 12px 14px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
section .tiles div { background: none; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 0; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; margin-top: 4px; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg text.name { fill: var(--ink); font-size: 13px; }
.grid { stroke: var(--rule); stroke-width: 1; } .hint { fill: transparent; }
.hint:hover { fill: var(--ink); opacity: .08; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke: var(--c); } .area { fill: var(--c); }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.ok { --c: var(--ok); }
.s-closed { --c: var(--closed); fill: var(--c); } .s-open { --c: var(--open); fill: var(--c); }
.s-half { --c: var(--half); fill: var(--c); } .s-fault { --c: var(--fault); fill: var(--c); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 2px 0 0; padding: 0; list-style: none;
  color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 6px; border-radius: 3px;
  background: var(--c); }
.wide { overflow-x: auto; }
table { width: 100%; margin-top: 8px; border-collapse: collapse; font-size: 13px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--rule); text-align: left; }
th, .figure { white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { padding-left: 0; }
td.figure, th.figure { text-align: right; }
"""
