const sizeUnits: Readonly<Record<string, number>> = {
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
const timeUnits: Readonly<Record<string, number>> = { "": 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** What a timer can wait for; beyond it Node fires at once. */
const longestTimer = 2 ** 31 - 1;

/** `10G`, `512Mi`, or a number of bytes: whole bytes, or null where it is no size. */
export function bytesOf(value: unknown): number | null {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)([kmgt]i?)?b?$/i.exec(textOf(value));
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * (sizeUnits[(match[2] ?? "").toLowerCase()] ?? Number.NaN);
  return Number.isFinite(bytes) && bytes <= Number.MAX_SAFE_INTEGER ? Math.round(bytes) : null;
}

/** `90s`, `10m`, `1h30m`, or a number of seconds: milliseconds, or null where it is no duration above 0. */
export function millisecondsOf(value: unknown): number | null {
  const text = textOf(value);
  if (!/^(?:\d{1,12}(?:\.\d{1,6})?|(?:\d{1,12}(?:\.\d{1,6})?(?:ms|s|m|h))+)$/.test(text)) return null;
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/([\d.]+)(ms|s|m|h)?/g))
    sum += Number(count) * (timeUnits[unit ?? ""] ?? Number.NaN);
  return sum > 0 && sum <= longestTimer ? Math.max(1, Math.round(sum)) : null;
}

function textOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" || typeof value === "bigint"
    ? String(value).trim()
    : "";
}
