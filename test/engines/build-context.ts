import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, missingPrograms, output } from "../support/programs.js";

/** A small program that needs nothing beside itself, and so runs in an image made FROM scratch: part of every glibc. */
const staticProgram = "ldconfig";

/** Why nothing can be built here, or null. */
export const nothingToBuild: string | null = missingPrograms([staticProgram, "tar"]);

/** What a container of the built image prints. */
export async function expectedOutput(): Promise<string> {
  return await output(staticProgram, ["--version"]);
}

/** Writes a Dockerfile and what it adds: three layers, a program in the lowest, labels, an environment and an entry point. */
export async function writeBuildContext(folder: string): Promise<void> {
  const program = findProgram(staticProgram);
  if (program === null) throw new Error(`${staticProgram} is not here`);
  await mkdir(folder, { recursive: true });
  await copyFile(program, join(folder, "program"));
  await writeFile(join(folder, "base.txt"), "the same in all\n");
  const dockerfile = [
    "FROM scratch",
    'LABEL org.example.job="the main one"',
    "ENV GREETING=hello",
    "ADD program /bin/program",
    "ADD base.txt /base.txt",
    'ENTRYPOINT ["/bin/program"]',
    'CMD ["--version"]',
    "ADD top.txt /top.txt",
  ];
  await writeFile(join(folder, "Dockerfile"), `${dockerfile.join("\n")}\n`);
}

/** Gives the next build another layer on top, and nothing else that is new. */
export async function changeTopLayer(folder: string, text: string): Promise<void> {
  await writeFile(join(folder, "top.txt"), `${text}\n`);
}
