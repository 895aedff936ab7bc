import type { ChildProcess } from "node:child_process";

type Told = Readonly<Record<string, unknown>>;

/** Calls back once `--progress json` tells of what is wanted. */
export function whenTold(wanted: (event: Told) => boolean, act: (child: ChildProcess) => void) {
  return (child: ChildProcess): void => {
    let acted = false;
    let text = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (acted || !wanted(JSON.parse(line) as Told)) continue;
        acted = true;
        act(child);
      }
    });
  };
}

/** Calls back once a layer has come to a part of its size. */
export function whenArrived(share: number, act: (child: ChildProcess) => void) {
  return whenTold(
    ({ status, current, total }) => status === "downloading" && Number(current) >= share * Number(total),
    act,
  );
}
