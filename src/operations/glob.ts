/**
 * Matches names against a shell pattern: `*` within a component, `**` over several, `?` and `[…]`; anything else is
 * itself.
 */
export function globMatcher(pattern: string): (text: string) => boolean {
  let source = "";
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern.charAt(at);
    const set = char === "[" ? /^\[[^\]/]+\]/.exec(pattern.slice(at)) : null;
    if (pattern.startsWith("**", at)) {
      source += ".*";
      while (pattern.charAt(at + 1) === "*") at += 1;
    } else if (char === "*") source += "[^/]*";
    else if (char === "?") source += "[^/]";
    else if (set !== null) {
      source += set[0].replace(/^\[!/, "[^").replace(/\\/g, "\\\\");
      at += set[0].length - 1;
    } else source += char.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  }
  const expression = new RegExp(`^${source}$`, "s");
  // Names have at most 255 characters: what a star costs is bounded by that.
  return (text) => text.length <= 1024 && expression.test(text);
}
