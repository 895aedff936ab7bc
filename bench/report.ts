import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chart } from "./chart.js";
import { growthText } from "./growth.js";
import { type RowResult, readResults } from "./results.js";
import type { Row } from "./row.js";
import { goalText, markdownTable } from "./table.js";

const [begin, end] = ["<!-- results: made by npm run bench -->", "<!-- end of results -->"];

/** Writes the results and their charts into docs/performance.md, between the two marks, from all rows that were ever run. */
export async function writeReport(root: string, rows: readonly Row[]): Promise<void> {
  const order = rows.map(({ id }) => id);
  const results = await readResults(join(root, "bench", "results"), order);
  const charts = join(root, "docs", "performance");
  await mkdir(charts, { recursive: true });
  for (const { row, title, contests } of results) {
    await writeFile(join(charts, `${row}.svg`), chart(`${row}: ${title}`, contests));
  }
  const page = join(root, "docs", "performance.md");
  const text = await readFile(page, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} has no place for results`);
  const missing = order.filter((id) => !results.some(({ row }) => row === id));
  const body = [overview(results), ...results.map(section), missingText(missing)].filter(Boolean).join("\n\n");
  await writeFile(page, `${text.slice(0, from)}${begin}\n\n${body}\n\n${text.slice(to)}`);
}

function overview(results: readonly RowResult[]): string {
  const lines = results.map(({ row, title, target, contests, growths, date }) => {
    const goals = [...contests.flatMap((contest) => contest.goals), ...growths];
    const met = goals.filter((goal) => goal.met).length;
    const anchor = `${row} ${title}`
      .toLowerCase()
      .replace(/[^\w -]/g, "")
      .replaceAll(" ", "-");
    return `| [${row}](#${anchor}) | ${title} | ${target} | ${met} of ${goals.length} | ${date.slice(0, 10)} |`;
  });
  return ["| row | what | to reach | met | measured |", "| --- | --- | --- | ---: | --- |", ...lines].join("\n");
}

function section({
  row,
  title,
  target,
  date,
  command,
  commit,
  machine,
  versions,
  conditions,
  contests,
  growths,
}: RowResult): string {
  const { cpu, cores, memory, system, load } = machine;
  const tools = Object.entries(versions).flatMap(([name, version]) => (version === null ? [] : [`${name} ${version}`]));
  const about = [
    `${date.slice(0, 16).replace("T", " ")} UTC, \`${command}\` at ${commit}`,
    `${cores} cores (${cpu}), ${Math.round(memory / 2 ** 30)} GiB, ${system}, load ${load.toFixed(1)} before the run`,
    tools.join(", "),
  ];
  return [
    `### ${row} ${title}`,
    `To reach: ${target}.${conditions === "" ? "" : ` **${conditions}**`}`,
    `![${row}](performance/${row}.svg)`,
    ...contests.flatMap((contest) => [
      `**${contest.name}**`,
      markdownTable(contest),
      contest.goals.map((goal) => `- ${goalText(goal)}`).join("\n"),
    ]),
    ...(growths.length === 0 ? [] : [growths.map((growth) => `- ${growthText(growth)}`).join("\n")]),
    `<sub>${about.join("<br>")}</sub>`,
  ].join("\n\n");
}

const missingText = (missing: readonly string[]) =>
  missing.length === 0 ? "" : `Not measured yet: ${missing.join(", ")}.`;
