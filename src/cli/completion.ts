import type { Command, Option } from "commander";

export const shells = ["bash", "zsh", "fish", "powershell"] as const;
export type Shell = (typeof shells)[number];

/**
 * The scripts ask the program itself what fits: `lading complete -- WORDS…` prints `candidate<TAB>description` lines.
 * Where it prints none, the shell completes file names. What was typed is passed as arguments, and never evaluated.
 */
const scripts: Readonly<Record<Shell, string>> = {
  bash: `# bash completion for lading
_lading() {
  local candidate
  COMPREPLY=()
  while IFS=$'\\t' read -r candidate _; do
    if [[ -n $candidate ]]; then COMPREPLY+=("$candidate"); fi
  done < <(lading complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _lading lading
`,
  zsh: `#compdef lading
_lading() {
  local candidate description
  local -a candidates
  while IFS=$'\\t' read -r candidate description; do
    if [[ -n $candidate ]]; then candidates+=("\${candidate//:/\\\\:}:$description"); fi
  done < <(lading complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#candidates} )); then _describe lading candidates; else _files; fi
}
if [[ $funcstack[1] == _lading ]]; then _lading "$@"; else compdef _lading lading; fi
`,
  fish: `# fish completion for lading
function __lading_complete
    set -l words (commandline -opc)
    lading complete -- $words[2..-1] (commandline -ct | string collect --allow-empty) 2>/dev/null
end
complete -c lading -a '(__lading_complete)'
`,
  powershell: `# powershell completion for lading
Register-ArgumentCompleter -Native -CommandName lading -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
  # An empty argument would be lost on the way to a native program.
  if ($wordToComplete -eq '') { $words += '""' }
  lading complete -- @words 2>$null | ForEach-Object {
    $candidate, $description = $_ -split "\`t", 2
    if (-not $description) { $description = $candidate }
    [System.Management.Automation.CompletionResult]::new($candidate, $candidate, 'ParameterValue', $description)
  }
}
`,
};

export function completionScriptOf(shell: Shell): string {
  return scripts[shell];
}

export interface Candidate {
  readonly value: string;
  readonly description: string;
}

/**
 * What fits in the place of the last word.
 * @param words What was typed after `lading`, the word under the cursor last (it may be empty).
 */
export function candidates(program: Command, words: readonly string[]): readonly Candidate[] {
  const typed = joinEqualSigns(words);
  const current = typed.at(-1) === '""' ? "" : (typed.at(-1) ?? "");
  const { command, options, value, operands } = place(program, typed.slice(0, -1));
  const fitting = (list: readonly Candidate[], prefix = current) =>
    list.filter((candidate) => candidate.value.startsWith(prefix));
  if (value !== null) return fitting(choicesOf(value));
  if (current.startsWith("-")) {
    const [flag, part] = current.split(/=(.*)/s, 2);
    const valued = part === undefined ? undefined : options.find((option) => option.long === flag);
    if (valued !== undefined) return fitting(choicesOf(valued), part);
    return fitting(
      options.flatMap((option) => (option.long ? [{ value: option.long, description: option.description }] : [])),
    );
  }
  const verbs = command.commands.filter((child) => !isHidden(child, command));
  if (verbs.length > 0) return fitting(verbs.map((verb) => ({ value: verb.name(), description: verb.description() })));
  const argument = command.registeredArguments[operands] ?? command.registeredArguments.at(-1);
  return fitting((argument?.argChoices ?? []).map((choice) => ({ value: choice, description: "" })));
}

/** Bash takes `--engine=do` for three words. */
function joinEqualSigns(words: readonly string[]): readonly string[] {
  const joined: string[] = [];
  for (const word of words) {
    const last = joined.at(-1);
    if (last?.startsWith("--") && (word === "=" || last.endsWith("="))) joined[joined.length - 1] = last + word;
    else joined.push(word);
  }
  return joined;
}

interface Place {
  readonly command: Command;
  /** Flags that may stand here. */
  readonly options: readonly Option[];
  /** The flag whose value is being typed. */
  readonly value: Option | null;
  /** Arguments of the verb so far. */
  readonly operands: number;
}

function place(program: Command, before: readonly string[]): Place {
  let command = program;
  let value: Option | null = null;
  let operands = 0;
  const flags = () => [...(command === program ? [] : command.options), ...program.options];
  for (const word of before) {
    if (value !== null) {
      value = null;
    } else if (word.startsWith("-")) {
      const option = flags().find((flag) => flag.long === word || flag.short === word);
      value = option !== undefined && (option.required || option.optional) ? option : null;
    } else {
      const child = command.commands.find((candidate) => candidate.name() === word);
      if (child !== undefined) command = child;
      else operands += 1;
    }
  }
  return { command, options: flags().filter((flag) => !flag.hidden), value, operands };
}

function choicesOf(option: Option): readonly Candidate[] {
  return (option.argChoices ?? []).map((choice) => ({ value: choice, description: "" }));
}

function isHidden(child: Command, parent: Command): boolean {
  return !parent.createHelp().visibleCommands(parent).includes(child);
}
