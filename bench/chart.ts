import type { ContestResult } from "./contest.js";
import { formatMetric, metricOf } from "./table.js";

const [width, label, bar, gap, top] = [760, 190, 18, 10, 34];
const [colourOfOurs, colourOfPeers, ink] = ["#2f81f7", "#9aa4af", "#57606a"];
const font = 'font-family="system-ui, sans-serif" font-size="12"';

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A row's contests as bars of medians, with a line from the fastest to the slowest run. Reads on light and dark pages. */
export function chart(title: string, contests: readonly ContestResult[]): string {
  const parts: string[] = [];
  let y = top;
  for (const contest of contests) {
    const metric = metricOf(contest);
    const longest = Math.max(...contest.entries.map((entry) => entry[metric].max));
    const scale = (width - label - 110) / longest;
    parts.push(`<text x="0" y="${y}" ${font} font-weight="600" fill="${ink}">${escaped(contest.name)}</text>`);
    y += 10;
    for (const { name, ours, [metric]: summary } of contest.entries) {
      const [length, from, to] = [summary.median * scale, label + summary.min * scale, label + summary.max * scale];
      const middle = y + bar / 2;
      const figure = formatMetric[metric](summary.median);
      parts.push(
        `<text x="${label - 8}" y="${middle + 4}" ${font} text-anchor="end" fill="${ink}">${escaped(name)}</text>`,
        `<rect x="${label}" y="${y}" width="${length.toFixed(1)}" height="${bar}" fill="${ours ? colourOfOurs : colourOfPeers}"/>`,
        `<line x1="${from.toFixed(1)}" x2="${to.toFixed(1)}" y1="${middle}" y2="${middle}" stroke="${ink}"/>`,
        `<text x="${(Math.max(to, label + length) + 8).toFixed(1)}" y="${middle + 4}" ${font} fill="${ink}">${figure}</text>`,
      );
      y += bar + gap / 2;
    }
    y += gap + 18;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" role="img">`,
    `  <title>${escaped(title)}</title>`,
    `  <text x="0" y="14" ${font} fill="${ink}">${escaped(title)}</text>`,
    ...parts.map((part) => `  ${part}`),
    "</svg>",
    "",
  ].join("\n");
}
