import type { AccountDecision } from "../server/index.js";
import type { Io } from "./io.js";
import { safeJson } from "./safe-text.js";

export interface DecisionLog {
  readonly write: (decision: AccountDecision) => void;
  close(): Promise<void>;
}

/** Opens a file for decisions, one JSON object a line; `-` is stderr. A file is added to. @throws LadingError `io` */
export async function openDecisionLog(path: string, io: Io): Promise<DecisionLog> {
  if (path === "-") {
    return {
      write: (decision) => {
        io.stderr.write(`${safeJson(decision)}\n`);
      },
      close: () => Promise.resolve(),
    };
  }
  const [{ open }, { ioError }] = await Promise.all([import("node:fs/promises"), import("../errors.js")]);
  const file = await open(path, "a", 0o600).catch((error: unknown) => {
    throw ioError(error, `opening ${path}`);
  });
  const stream = file.createWriteStream();
  // a disk that is full must not end the server; what is lost is seen by its gap
  stream.on("error", () => undefined);
  return {
    write: (decision) => {
      stream.write(`${JSON.stringify(decision)}\n`);
    },
    close: () => new Promise((resolve) => stream.end(() => resolve())),
  };
}
