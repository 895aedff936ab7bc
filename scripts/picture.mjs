// `node scripts/picture.mjs`: makes docs/run.svg, the README's picture, of a real run: the commands run in a terminal (tmux),
// and what the terminal then shows, colours included, is drawn. Needs tmux and a build; everything else is temporary.
import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

const [columns, rows] = [128, 40];
const commands = [
  "lading load app.tar",
  "lading push app:1",
  "lading ls",
  "lading tags image:app -l",
  "lading pull image:app:1 --store elsewhere",
];

const socket = `lading-picture-${process.pid}`;
const tmux = (...args) => execFileSync("tmux", ["-L", socket, ...args], { encoding: "utf8" });

/** What the terminal shows after the commands have run in it, escape sequences included. */
async function capture(folder) {
  const variables = {
    PATH: `${folder}:${process.env.PATH}`,
    LADING_ENGINE: "store",
    LADING_OWNER: "you",
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_DATA_HOME: join(folder, "data"),
  };
  const settings = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'`);
  const shown = commands.map((command) => `printf '\\033[1;32m$\\033[0m ${command}\\n'\n${command}`);
  const script = [
    "#!/bin/sh",
    ...settings,
    `cd ${folder}`,
    "clear",
    ...shown,
    `tmux -L ${socket} wait-for -S done`,
    "sleep 60",
    "",
  ];
  await writeNodeImage(join(folder, "app.tar"), "app:1");
  await writeFile(join(folder, "lading"), `#!/bin/sh\nexec ${process.execPath} ${root}/dist/bin/lading.js "$@"\n`);
  await writeFile(join(folder, "run.sh"), script.join("\n"));
  await chmod(join(folder, "lading"), 0o755);
  const size = ["-x", String(columns), "-y", String(rows)];
  try {
    tmux("-f", "/dev/null", "new-session", "-d", ...size, `sh ${join(folder, "run.sh")}`);
    tmux("wait-for", "done");
    return tmux("capture-pane", "-e", "-p");
  } finally {
    tmux("kill-server");
  }
}

const palette = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#e6edf3"];

/** What a list of SGR parameters makes of a style. */
function styled(style, parameters) {
  let next = style;
  for (let at = 0; at < parameters.length; at += 1) {
    const code = parameters[at];
    if (code === 0) next = {};
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 39) next = { ...next, colour: undefined };
    else if (code >= 30 && code <= 37) next = { ...next, colour: palette[code - 30] };
    else if (code >= 90 && code <= 97) next = { ...next, colour: code === 90 ? "#8b949e" : palette[code - 90] };
    else if (code === 38) at += parameters[at + 1] === 5 ? 2 : 4; // Colours of larger palettes stay the default.
  }
  return next;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** One line of the terminal as tspans. */
function drawLine(line) {
  let style = {};
  let drawn = "";
  for (const [, sgr, text] of line.matchAll(/\x1b\[([0-9;]*)m|([^\x1b]+)/g)) {
    if (text === undefined) {
      style = styled(style, (sgr || "0").split(";").map(Number));
      continue;
    }
    const attributes = [
      style.colour ? ` fill="${style.colour}"` : "",
      style.bold ? ' font-weight="bold"' : "",
      style.dim ? ' opacity="0.6"' : "",
    ].join("");
    drawn += attributes === "" ? escaped(text) : `<tspan${attributes}>${escaped(text)}</tspan>`;
  }
  return drawn;
}

function draw(screen) {
  const lines = screen.trimEnd().split("\n");
  const [advance, height, margin] = [8.43, 19, 16];
  const [width, total] = [Math.ceil(columns * advance) + 2 * margin, lines.length * height + 2 * margin];
  const texts = lines.map((line, index) => {
    const y = margin + 14 + index * height;
    return `  <text x="${margin}" y="${y}" xml:space="preserve">${drawLine(line.trimEnd())}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" viewBox="0 0 ${width} ${total}" role="img">`,
    "  <title>A run of lading in a terminal</title>",
    `  <rect width="${width}" height="${total}" rx="8" fill="#0d1117"/>`,
    '  <g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#e6edf3">',
    ...texts,
    "  </g>",
    "</svg>",
    "",
  ].join("\n");
}

prepare();
const { writeNodeImage } = await import("./quickstart-image.mjs");
const folder = await mkdtemp(join(tmpdir(), "lading-picture-"));
try {
  await writeFile(join(root, "docs", "run.svg"), draw(await capture(folder)));
} finally {
  await rm(folder, { recursive: true, force: true });
}
