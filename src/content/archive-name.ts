import type { LocalImage } from "../image/local-image.js";

/** A name as an archive keeps it: always with a tag. */
export function archiveName(name: LocalImage | string): string {
  const text = String(name);
  return /:[^/]+$/.test(text) ? text : `${text}:latest`;
}

/** The name as people write it: Docker Hub's host and its `library/` are left out, as docker shows it. */
export function familiarName(name: string): string {
  const hub = /^(?:index\.)?docker\.io\/(.+)$/.exec(name)?.[1];
  return hub === undefined ? name : hub.replace(/^library\/(?=[^/]+$)/, "");
}
