import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Whether there is a tmux to make real terminals with. */
export const hasTmux = spawnSync("tmux", ["-V"]).status === 0;

export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  readonly env: Readonly<Record<string, string>>;
  readonly directory: string;
}

/** A real terminal: a tmux of its own, with one window, whose screen can be read. */
export class Terminal {
  readonly #socket: string;
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#socket = join(directory, "tmux");
  }

  /** Runs a shell command; afterwards the screen shows `exit=CODE`, and stays. */
  static async start(command: string, { columns, rows, env, directory }: TerminalOptions): Promise<Terminal> {
    const terminal = new Terminal(await mkdtemp(join(tmpdir(), "lading-tmux-")));
    const size = ["-x", String(columns), "-y", String(rows)];
    const variables = Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
    const script = `cd '${directory}'; clear; ${command}; echo "exit=$?"; exec sleep 600`;
    // Manual: the window keeps the size it is given, since no terminal is attached.
    await terminal.#tmux("-f", "/dev/null", "new-session", "-d", ...size, ...variables, script);
    await terminal.#tmux("set-option", "-g", "window-size", "manual");
    return terminal;
  }

  /** What is on the screen, without trailing space. */
  async screen(): Promise<string> {
    return (await this.#tmux("capture-pane", "-p")).trimEnd();
  }

  /** Reads the screen until it is as wanted. @throws Error with the last screen after 30 s */
  async until(wanted: (screen: string) => boolean, what: string): Promise<string> {
    const end = Date.now() + 30_000;
    let screen = "";
    while (Date.now() < end) {
      screen = await this.screen();
      if (wanted(screen)) return screen;
      await sleep(25);
    }
    throw new Error(`the screen never showed ${what}:\n${screen}`);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-x", String(columns), "-y", String(rows));
  }

  /** Key names of tmux (`C-c`, `Enter`) or text. */
  async keys(...keys: readonly string[]): Promise<void> {
    await this.#tmux("send-keys", ...keys);
  }

  async cursorIsVisible(): Promise<boolean> {
    return (await this.#tmux("display-message", "-p", "#{cursor_flag}")).trim() === "1";
  }

  async close(): Promise<void> {
    await this.#tmux("kill-server").catch(() => "");
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #tmux(...args: readonly string[]): Promise<string> {
    const { stdout } = await run("tmux", ["-S", this.#socket, ...args], {
      env: { ...process.env, TERM: "xterm-256color", LANG: "C.UTF-8" },
    });
    return stdout;
  }
}
