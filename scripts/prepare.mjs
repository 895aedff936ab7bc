// Brings a checkout to the point where it can run: dependencies as package-lock.json has them, and a fresh build.
// Used by `npm run quickstart` and `npm test`, so that both work as the first command in a clean clone.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Throws with the command's output where a command fails; quiet else. */
function run(what, command, args) {
  const started = performance.now();
  process.stderr.write(`${what} …`);
  const windows = process.platform === "win32";
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", shell: windows, maxBuffer: 64 * 1024 * 1024 });
  if (result.error !== undefined || result.status !== 0) {
    process.stderr.write(" failed\n");
    const output = `${result.stdout ?? ""}${result.stderr ?? ""}${result.error?.message ?? ""}`;
    throw new Error(`${command} ${args.join(" ")} failed:\n${output}`);
  }
  process.stderr.write(` ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
}

function packagesOf(lockFile) {
  return JSON.parse(readFileSync(lockFile, "utf8")).packages;
}

/** True where what is installed is what package-lock.json asks for; packages for other platforms may be absent. */
export function isInstalled() {
  const installedFile = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedFile)) return false;
  const installed = packagesOf(installedFile);
  return Object.entries(packagesOf(join(root, "package-lock.json"))).every(([path, wanted]) => {
    if (path === "" || (wanted.optional && installed[path] === undefined)) return true;
    return installed[path]?.version === wanted.version && existsSync(join(root, path));
  });
}

/** Installs what is missing or stale, then builds. */
export function prepare() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Error(`Lading needs Node 20.19 or newer; this is ${process.versions.node}`);
  }
  if (!isInstalled()) run("installing dependencies (npm ci)", "npm", ["ci", "--no-audit", "--no-fund"]);
  const build = join(root, "scripts", "build.mjs");
  if (existsSync(build)) run("building (npm run build)", process.execPath, [build]);
}
