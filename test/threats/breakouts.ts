import { file, folder, type HostileEntry, hardlink, link } from "../support/hostile-tar.js";

/** Where an archive tries to get to: a folder outside, which has a file `secret` and a folder `inner`. */
export interface Outside {
  readonly absolute: string;
  /** The same by way of `..`, from wherever something may be unpacked. */
  readonly relative: string;
}

/** The names of containerd's TestBreakouts (archive/tar_test.go), with archives of our own. */
export const breakouts: Readonly<Record<string, (outside: Outside) => readonly HostileEntry[]>> = {
  SymlinkAbsolute: ({ absolute }) => [link("localetc", absolute), file("localetc/unbroken")],
  SymlinkUpAndOut: ({ relative }) => [link("localetc", relative), file("localetc/unbroken")],
  SymlinkMultipleAbsolute: ({ absolute }) => [
    link("first", absolute),
    link("second", "/first"),
    file("second/unbroken"),
  ],
  SymlinkMultipleRelative: ({ relative }) => [
    link("first", relative),
    link("second", "first"),
    file("second/unbroken"),
  ],
  SymlinkEmptyFile: ({ absolute }) => [link("empty", `${absolute}/emptied`), file("empty", "")],
  HardlinkRelative: ({ relative }) => [
    link("localetc", relative),
    hardlink("localsecret", "localetc/secret"),
    file("localsecret"),
  ],
  HardlinkDownAndOut: ({ relative }) => [
    folder("down/"),
    link("down/localetc", relative),
    hardlink("localsecret", "down/localetc/secret"),
    file("localsecret"),
  ],
  HardlinkAbsolute: ({ absolute }) => [
    link("localetc", absolute),
    hardlink("localsecret", "/localetc/secret"),
    file("localsecret"),
  ],
  HardlinkRelativeLong: ({ relative }) => [
    link("localetc", `../../../../../../../../${relative}`),
    hardlink("localsecret", "localetc/secret"),
    file("localsecret"),
  ],
  HardlinkRelativeUpAndOut: ({ relative }) => [
    link("localetc", `down/../${relative}`),
    hardlink("localsecret", "localetc/secret"),
    file("localsecret"),
  ],
  HardlinkDirectRelative: ({ relative }) => [hardlink("localsecret", `${relative}/secret`), file("localsecret")],
  HardlinkDirectAbsolute: ({ absolute }) => [hardlink("localsecret", `${absolute}/secret`), file("localsecret")],
  SymlinkParentDirectory: ({ absolute }) => [folder("down/"), link("down/..", absolute), file("unbroken")],
  SymlinkEmptyFilename: ({ absolute }) => [link("", absolute), file("unbroken")],
  SymlinkParentRelative: ({ relative }) => [link("localetc", `${relative}/inner`), file("localetc/../unbroken")],
  SymlinkSlashEnded: ({ absolute }) => [link("localetc/", absolute), file("localetc/unbroken")],
  SymlinkOverrideDirectory: ({ absolute }) => [
    folder("localetc/"),
    link("localetc", absolute),
    file("localetc/unbroken"),
  ],
  SymlinkOverrideDirectoryRelative: ({ relative }) => [
    folder("localetc/"),
    link("localetc", relative),
    file("localetc/unbroken"),
  ],
  DirectoryOverrideSymlink: ({ absolute }) => [
    link("localetc", absolute),
    folder("localetc/"),
    file("localetc/unbroken"),
  ],
  DirectoryOverrideSymlinkAndHardlink: ({ absolute }) => [
    link("localetc", absolute),
    hardlink("localsecret", "localetc/secret"),
    folder("localetc/"),
    file("localsecret"),
  ],
  WhiteoutRootParent: () => [file(".wh...", "")],
  WhiteoutParent: () => [folder("etc/"), file("etc/.wh...", "")],
  WhiteoutRoot: () => [file(".wh.", "")],
  WhiteoutCurrentDirectory: () => [folder("etc/"), file("etc/.wh..", "")],
  WhiteoutSymlink: ({ absolute }) => [link("localetc", absolute), file(".wh.localetc", "")],
  WhiteoutSymlinkPath: ({ absolute }) => [link("localetc", absolute), file("localetc/.wh.secret", "")],
  WhiteoutDirectoryName: ({ absolute }) => [link(".wh.dir", absolute), file(".wh.dir/secret", "")],
  WhiteoutDeadSymlinkParent: ({ absolute }) => [link("dead", `${absolute}/missing`), file("dead/.wh.file", "")],
  WhiteoutRelativePath: ({ relative }) => [folder("dir/"), file(`dir/${relative}/.wh.secret`, "")],
  SymlinkOverridePath: ({ absolute }) => [folder("a/"), folder("a/inner/"), link("a", absolute), file("a/inner/deep")],
  HardlinkSymlinkBeforeCreateTarget: ({ absolute }) => [
    hardlink("linked", "target"),
    link("target", `${absolute}/secret`),
    file("linked"),
  ],
  HardlinkSymlinkRelative: ({ relative }) => [
    link("pointer", `${relative}/secret`),
    hardlink("linked", "pointer"),
    file("linked"),
  ],
  HardlinkSymlinkAbsolute: ({ absolute }) => [
    link("pointer", `${absolute}/secret`),
    hardlink("linked", "/pointer"),
    file("linked"),
  ],
  HardlinkSymlinkChmod: ({ absolute }) => [
    link("pointer", `${absolute}/secret`),
    hardlink("linked", "pointer"),
    { name: "linked", flag: "1", link: "pointer", mode: 0o777 },
  ],
};
