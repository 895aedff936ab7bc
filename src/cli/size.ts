import { LadingError } from "../errors.js";

const factors: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/**
 * `10G`, `512Mi`, `1.5k`, `4096`: k, M, G and T count in thousands, Ki, Mi, Gi and Ti in 1024s; a trailing B is allowed.
 * @returns Whole bytes.
 * @throws LadingError `usage`
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmgt]i?)?b?$/i.exec(text.trim());
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * (factors[(match[2] ?? "").toLowerCase()] ?? Number.NaN);
  if (!Number.isFinite(bytes) || bytes > Number.MAX_SAFE_INTEGER) {
    throw new LadingError("usage", `${JSON.stringify(text)} is not a size`, { hint: "for example 500M, 10G or 512Mi" });
  }
  return Math.round(bytes);
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Bytes for people, in thousands as Docker prints them: `12.3 MB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 999.95 would print as 1000.0: it belongs to the next unit.
  while (value >= (unit === 0 ? 1000 : 999.95) && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? String(Math.round(value)) : value.toFixed(1)} ${units[unit]}`;
}
