import type { Grant, Role } from "./role.js";

/** Somebody's role in an organisation or a project. */
export interface Member {
  readonly user: string;
  readonly role: Role;
}

/** A user as those who may manage it see it. */
export interface User {
  readonly name: string;
  readonly admin: boolean;
  readonly disabled: boolean;
  /** Whether there is a password at all. */
  readonly password: boolean;
  /** RFC 3339: when a password that was made up ends, unless it is changed before; else null. */
  readonly passwordExpires: string | null;
  /** RFC 3339. */
  readonly created: string;
}

/** `newPassword` is one that was made up, shown this once; null where it was given. */
export interface AddedUser extends User {
  readonly newPassword: string | null;
}

/** An organisation: an owner of repositories that has members. */
export interface Organisation {
  readonly name: string;
  readonly members: readonly Member[];
  /** RFC 3339. */
  readonly created: string;
}

/** A project: repositories with members and a visibility of their own. */
export interface Project {
  /** A path of at least two components; all repositories below it, and one of its own name, are in it. */
  readonly name: string;
  readonly visibility: "public" | "private";
  readonly members: readonly Member[];
  /** RFC 3339. */
  readonly created: string;
}

/** An API key, without its secret. */
export interface ApiKey {
  readonly id: string;
  readonly label: string;
  /** A user, or an organisation whose robot it is. */
  readonly owner: string;
  readonly robot: boolean;
  /** Null: whatever its owner may. */
  readonly grants: readonly Grant[] | null;
  /** RFC 3339. */
  readonly created: string;
  /** RFC 3339, null for never. */
  readonly expires: string | null;
  /** RFC 3339, exact to the hour; null for never. */
  readonly lastUsed: string | null;
}

/** `key` is shown this once. */
export interface AddedApiKey extends ApiKey {
  readonly key: string;
}

/** A user to be made. */
export interface AddUser {
  readonly name: string;
  /** @default one that is made up, and ends after a day */
  readonly password?: string | null | undefined;
  readonly admin?: boolean | null | undefined;
}

/** Changes of a user; what is left out stays. */
export interface SetUser {
  readonly password?: string | null | undefined;
  readonly admin?: boolean | null | undefined;
  readonly disabled?: boolean | null | undefined;
}

/** Changes of members; others stay. */
export interface SetMembers {
  /** Added, or given another role. */
  readonly members?: readonly Member[] | null | undefined;
  /** Names of those who are members no more. */
  readonly removeMembers?: readonly string[] | null | undefined;
}

/** A project to be made. */
export interface AddProject {
  readonly name: string;
  /** @default private */
  readonly visibility?: Project["visibility"] | null | undefined;
}

/** Changes of a project; what is left out stays. */
export interface SetProject extends SetMembers {
  readonly visibility?: Project["visibility"] | null | undefined;
}

/** An API key to be made. */
export interface AddKey {
  /** A user, or an organisation for a robot. */
  readonly owner: string;
  /** What it is for. */
  readonly label?: string | null | undefined;
  /** A robot needs some, all in its organisation. @default whatever its owner may */
  readonly grants?: readonly Grant[] | null | undefined;
  /** RFC 3339. @default never */
  readonly expires?: string | null | undefined;
}

/** What became of an htpasswd file. */
export interface ImportedUsers {
  /** Names that are users now. */
  readonly imported: readonly string[];
  /** Names, or numbers of lines, that are not, with the reason. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

/**
 * The accounts of a registry. The same on the folder of a stopped one and through a running one.
 * All methods throw LadingError: `usage` for what can't be, `not-found`, `conflict` for what is there already, and through
 * a running registry `unauthorized` and `denied` too.
 */
export interface Accounts {
  readonly users: {
    add(user: AddUser): Promise<AddedUser>;
    list(): Promise<readonly User[]>;
    show(name: string): Promise<User>;
    set(name: string, changes: SetUser): Promise<User>;
    remove(name: string): Promise<User>;
    /** Users of an htpasswd file with bcrypt hashes (`htpasswd -B`). Those that are there already stay as they are. */
    import(htpasswd: string): Promise<ImportedUsers>;
  };
  readonly orgs: {
    add(org: { readonly name: string }): Promise<Organisation>;
    list(): Promise<readonly Organisation[]>;
    show(name: string): Promise<Organisation>;
    set(name: string, changes: SetMembers): Promise<Organisation>;
    remove(name: string): Promise<Organisation>;
  };
  readonly projects: {
    add(project: AddProject): Promise<Project>;
    list(): Promise<readonly Project[]>;
    show(name: string): Promise<Project>;
    set(name: string, changes: SetProject): Promise<Project>;
    remove(name: string): Promise<Project>;
  };
  readonly keys: {
    add(key: AddKey): Promise<AddedApiKey>;
    list(): Promise<readonly ApiKey[]>;
    show(id: string): Promise<ApiKey>;
    remove(id: string): Promise<ApiKey>;
  };
}
