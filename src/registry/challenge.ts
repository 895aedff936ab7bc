import { limits } from "../oci/limits.js";

/** One challenge of a `WWW-Authenticate` header. Names of parameters in lower case. */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const tokenCharacter = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/;

/**
 * Reads the challenges of a `WWW-Authenticate` header; several headers are joined by commas. A hand parser in
 * one pass: the header is a stranger's text, and regular expressions over it can be made to crawl.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate
 */
export function parseChallenges(header: string | undefined): readonly Challenge[] {
  if (header === undefined || header.length > limits.authorization) return [];
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const skip = (characters: string) => {
    while (at < header.length && characters.includes(header.charAt(at))) at += 1;
  };
  const token = () => {
    const start = at;
    while (at < header.length && tokenCharacter.test(header.charAt(at))) at += 1;
    return header.slice(start, at);
  };
  const quoted = () => {
    let value = "";
    at += 1;
    while (at < header.length && header.charAt(at) !== '"') {
      if (header.charAt(at) === "\\") at += 1;
      value += header.charAt(at);
      at += 1;
    }
    at += 1;
    return value;
  };
  while (at < header.length) {
    skip(" \t,");
    const name = token();
    if (name === "") {
      // Padding of a token68 or plain rubbish: step over it.
      at += 1;
      continue;
    }
    skip(" \t");
    if (header.charAt(at) !== "=") {
      challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
      continue;
    }
    at += 1;
    skip(" \t");
    const value = header.charAt(at) === '"' ? quoted() : token();
    const parameters = challenges.at(-1)?.parameters;
    if (parameters !== undefined && !parameters.has(name.toLowerCase())) parameters.set(name.toLowerCase(), value);
  }
  return challenges;
}
