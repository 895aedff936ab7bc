import { styleText } from "node:util";
import type { Io, OutputStream } from "./io.js";

/** Single formats alone: with an array of them Node 20 colours whatever the stream is. */
export type Format = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
export type Style = (format: Format, text: string) => string;

/** A style for one stream: plain text unless the stream is a terminal and `NO_COLOR` is not set. */
export function createStyle(stream: OutputStream, env: Io["env"]): Style {
  const refused = (env.NO_COLOR ?? "") !== "" || env.TERM === "dumb";
  if (stream.isTTY !== true || refused) return (_format, text) => text;
  return (format, text) => styleText(format, text, { validateStream: false });
}
