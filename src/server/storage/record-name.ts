/**
 * File names of records. Some file systems take `V1` and `v1` for one name, and none allows a slash; so capitals
 * become small letters with a note behind a `+` of which they were (four to a hexadecimal digit), and a slash
 * becomes `=`. Neither sign occurs in a tag, a repository or a digest.
 */
export function encodeName(name: string): string {
  const flat = name.replaceAll("/", "=");
  const small = flat.toLowerCase();
  if (small === flat) return flat;
  let marks = "";
  for (let at = 0; at < flat.length; at += 4) {
    let digit = 0;
    for (let bit = 0; bit < 4; bit++) if (flat[at + bit] !== small[at + bit]) digit |= 1 << bit;
    marks += digit.toString(16);
  }
  return `${small}+${marks.replace(/0+$/, "")}`;
}

/** Null where the file is none of ours. */
export function decodeName(file: string): string | null {
  const [small = "", marks = "", ...rest] = file.split("+");
  if (rest.length > 0 || small === "" || !/^[0-9a-f]*$/.test(marks) || small.startsWith(".")) return null;
  let name = "";
  for (let at = 0; at < small.length; at++) {
    const digit = Number.parseInt(marks[Math.floor(at / 4)] ?? "0", 16);
    const letter = small.charAt(at);
    name += digit & (1 << (at % 4)) ? letter.toUpperCase() : letter;
  }
  return name.replaceAll("=", "/");
}
