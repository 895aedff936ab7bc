import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findProgram } from "../support/programs.js";
import { hasTmux, Terminal } from "../support/terminal.js";
import { Machine, program } from "./machine.js";

interface ShellUnderTest {
  readonly name: "bash" | "zsh" | "fish";
  /** Where the script goes, below the home, as the manual of the shell says. */
  readonly script: string;
  /** What the user has in the file that the shell starts with. */
  readonly start: { readonly file: string; readonly text: string };
  readonly command: string;
}

const shells: readonly ShellUnderTest[] = [
  {
    name: "bash",
    script: "lading.bash",
    start: { file: ".bashrc", text: "PS1='$ '\nsource ~/lading.bash\n" },
    command: "bash --noprofile --rcfile .bashrc -i",
  },
  {
    name: "zsh",
    script: ".zfunc/_lading",
    start: {
      file: ".zshrc",
      text: "PS1='$ '\nfpath=(~/.zfunc $fpath)\nautoload -Uz compinit\ncompinit -u -D\n",
    },
    command: "zsh -o no_global_rcs -i",
  },
  {
    name: "fish",
    script: ".config/fish/completions/lading.fish",
    start: { file: ".config/fish/config.fish", text: "function fish_prompt; echo '$ '; end\nset -g fish_greeting\n" },
    command: "fish -i",
  },
];

let machine: Machine;
let terminal: Terminal | null = null;

beforeEach(async () => {
  machine = await Machine.create();
});
afterEach(async () => {
  await terminal?.close();
  terminal = null;
  await machine.remove();
});

/** An interactive shell whose user has installed the completion. */
async function startShell({ name, script, start, command }: ShellUnderTest): Promise<Terminal> {
  const write = async (path: string, text: string) => {
    await mkdir(join(machine.home, path, ".."), { recursive: true });
    await writeFile(join(machine.home, path), text);
  };
  await write("bin/lading", `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
  await chmod(join(machine.home, "bin", "lading"), 0o755);
  const installed = await machine.lading(["completion", name]);
  expect(installed.code).toBe(0);
  await write(script, installed.stdout);
  await write(start.file, start.text);
  // Without this folder fish reads all manuals first, beside the test.
  await mkdir(join(machine.home, ".local", "share", "fish", "generated_completions"), { recursive: true });
  const env = { ...machine.env, ZDOTDIR: machine.home };
  // tmux gives a window the PATH of whoever asked for it.
  const onPath = `PATH='${machine.home}/bin:${machine.env.PATH}' ${command}`;
  const started = await Terminal.start(onPath, { columns: 100, rows: 30, env, directory: machine.home });
  terminal = started;
  await started.until((screen) => screen.includes("$"), `the prompt of ${name}`);
  return started;
}

/** The line that is being typed. */
const typed = (screen: string) => screen.split("\n").findLast((line) => line.startsWith("$ ")) ?? "";

for (const shell of shells) {
  const missing = !hasTmux ? "tmux" : findProgram(shell.name) === null ? shell.name : null;
  describe.skipIf(missing !== null)(
    `in ${shell.name}${missing === null ? "" : ` (skipped: no ${missing} here)`}`,
    () => {
      it("the tab key completes verbs, flags and values", async () => {
        const window = await startShell(shell);
        await window.keys("lading comp", "Tab");
        await window.until((screen) => typed(screen).includes("lading completion"), "the verb");
        await window.keys("C-u", "lading push app:1 --no-c", "Tab");
        await window.until((screen) => typed(screen).includes("lading push app:1 --no-clobber"), "the flag");
        await window.keys("C-u", "lading images --engine pod", "Tab");
        await window.until((screen) => typed(screen).includes("--engine podman"), "the value");
      });

      it("the tab key shows what there is to choose from", async () => {
        const window = await startShell(shell);
        await window.keys("lading config ", "Tab", "Tab");
        const offers = (screen: string) => ["get", "set", "show", "use"].every((verb) => screen.includes(verb));
        await window.until(offers, "the verbs of config");
      });

      it("the tab key leaves files to the shell, and never evaluates what was typed", async () => {
        await writeFile(join(machine.home, "archive of app.tar"), "");
        const window = await startShell(shell);
        await window.keys("lading load arch", "Tab");
        await window.until((screen) => /load \S*archive\\ of\\ app\.tar/.test(typed(screen)), "the file");
        await window.keys("C-u", "lading push $(touch evaluated) --no-c", "Tab");
        await window.until((screen) => typed(screen).includes("--no-clobber"), "the flag");
        expect(await readdir(machine.home)).not.toContain("evaluated");
      });
    },
  );
}
