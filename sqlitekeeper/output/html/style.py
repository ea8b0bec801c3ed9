"""The style of the HTML report: light and dark, on a phone and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --card: #fff; --text: #1d2328; --soft: #55606a; --rule: #d5dadd;
  --file: #a13d00; --live: #1f6f8b; --area: #1f6f8b2e; --bad: #a6121f; --note: #fff5dc;
  --edge: #b77900; --link: #0b5a8a;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14181b; --card: #1c2226; --text: #e6e9eb; --soft: #a3aeb7; --rule: #39434a;
    --file: #ff9d5c; --live: #67c4e3; --area: #67c4e338; --bad: #ff8a8a; --note: #2d2716;
    --edge: #d9a441; --link: #7cc4f5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 62rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { position: static; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .25rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; }
.soft, .none { color: var(--soft); }
.bad { color: var(--bad); font-weight: 600; }
.card {
  background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  padding: 1rem 1.25rem; margin: 1.25rem 0;
}
.card > :last-child { margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .25rem; }
th, td {
  text-align: right; padding: .4rem .5rem; border-bottom: 1px solid var(--rule);
  vertical-align: baseline; font-weight: normal;
}
thead th { color: var(--soft); }
th:first-child, .words { text-align: left; }
tbody th { font-weight: 600; }
.plain tbody th { font-weight: normal; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
td, .number { white-space: nowrap; }
.words { white-space: normal; }
.advice { list-style: none; padding: 0; margin: .75rem 0; }
.advice li {
  background: var(--note); border-left: .25rem solid var(--edge); padding: .5rem .75rem;
  margin: .5rem 0; border-radius: 0 .25rem .25rem 0;
}
dl {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr));
  gap: .5rem 1rem; margin: .75rem 0;
}
dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0; font-weight: 600; }
figure { margin: 1rem 0; }
figcaption { font-weight: 600; margin-bottom: .5rem; }
.key { font-weight: normal; color: var(--soft); margin-left: .75rem; white-space: nowrap; }
.key span { display: inline-block; width: 1.5rem; margin-right: .35rem; vertical-align: middle; }
.key-file { border-top: 3px solid var(--file); }
.key-live { border-top: 3px dashed var(--live); height: .6rem; background: var(--area); }
.plot { position: relative; margin: .75rem .5rem 2rem 4.75rem; }
.plot svg { display: block; width: 100%; height: 13rem; overflow: visible; }
.plot path, .plot polyline { fill: none; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--rule); stroke-width: 1px; }
.live-area { fill: var(--area); }
.live-line { stroke: var(--live); stroke-width: 2px; stroke-dasharray: 6 4; }
.file-line { stroke: var(--file); stroke-width: 2.5px; stroke-linejoin: round; }
.sizes, .times { color: var(--soft); font-size: .8125rem; line-height: 1; }
.sizes span {
  position: absolute; right: 100%; margin-right: .5rem; white-space: nowrap;
  transform: translateY(50%);
}
.times span {
  position: absolute; top: 100%; padding-top: .6rem; white-space: nowrap;
  transform: translateX(-50%);
}
.times span::before {
  content: ""; position: absolute; left: 50%; top: 0; height: .35rem;
  border-left: 1px solid var(--soft);
}
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--link); }
.bar { display: block; height: .3rem; background: var(--live); border-radius: .15rem;
  margin: .2rem 0 0 auto; min-width: 1px; }
@media (max-width: 42rem) {
  .card { padding: .75rem; }
  .stacked thead { position: absolute; left: -99rem; }
  .stacked, .stacked tbody, .stacked tfoot, .stacked tr, .stacked caption { display: block; }
  .stacked tr { border-bottom: 1px solid var(--rule); padding: .5rem 0; }
  .stacked th, .stacked td { display: flex; justify-content: space-between; gap: 1rem;
    border: 0; padding: .1rem 0; text-align: right; white-space: normal; }
  .stacked td::before { content: attr(data-label); color: var(--soft); font-weight: normal;
    text-align: left; flex: none; }
  .stacked tbody th, .stacked tfoot th, .stacked [colspan] { display: block; text-align: left; }
  .stacked td:empty { display: none; }
  .stacked .bar { display: none; }
  .key { display: block; margin-left: 0; }
}
@media print {
  body { max-width: none; padding: 0; background: #fff; font-size: 10pt; }
  .card { border: 0; border-top: 1px solid var(--rule); border-radius: 0; padding: .75rem 0; }
  .plot { margin-bottom: 3rem; }
  figure, tr, .advice li { break-inside: avoid; }
  h2, h3, caption, figcaption { break-after: avoid; }
  .skip, details:not([open]) { display: none; }
  .advice li, .live-area, .key-live, .bar { print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
}
"""
