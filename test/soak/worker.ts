// One file, long: an operation of the soak is a row that says what is called, what it writes and what it may answer, and the
// loop that runs such a row and holds the outcome to it belongs beside it.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ContestedTags } from "./contested-tags.js";
import type { Dice } from "./dice.js";
import type { FaultKind, FaultyFront } from "./faulty-front.js";
import type { JudgedRun, RunJudge } from "./judge.js";
import { type LadingRun, runLading } from "./lading-run.js";
import type { Ledger } from "./ledger.js";
import type { Place, TagState } from "./place.js";
import type { SoakImage, SoakImages } from "./soak-image.js";

export const engines = ["docker", "store"] as const;
export const registries = ["own", "other"] as const;
type Engine = (typeof engines)[number];
type RegistryName = (typeof registries)[number];
type PlaceName = Engine | RegistryName;

/** The image that all workers write at once. */
export const contestedImage = "all";
const contestedTags = ["1", "2"];
const tags = ["1", "2", "3"];
/** Archives that are kept to be loaded again. */
const archivesKept = 8;

export interface WorkerOptions {
  readonly number: number;
  readonly folder: string;
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  readonly dice: Dice;
  readonly images: SoakImages;
  readonly ledger: Ledger;
  readonly judge: RunJudge;
  readonly contested: ContestedTags;
  readonly places: Readonly<Record<PlaceName, Place>>;
  readonly fronts: Readonly<Record<RegistryName, FaultyFront>>;
  /** Share of the operations that are killed. */
  readonly killRate: number;
  /** How often the embedded registry was killed so far. */
  readonly crashes: () => number;
}

interface Write {
  readonly place: PlaceName;
  readonly image: string;
  readonly tag: string;
  /** The image's ID; null where the tag goes away, undefined where any image that was possible will do. */
  readonly id: string | null | undefined;
}

interface Operation {
  readonly what: string;
  readonly args: readonly string[];
  readonly writes: readonly Write[];
  /** Codes with which it may end though nothing struck it. */
  readonly mayFail: readonly string[];
  /** What is wrong with its result, or null. */
  readonly judgeResult?: (result: Readonly<Record<string, unknown>>) => string | null;
  readonly after?: () => Promise<void>;
}

interface LocalFound {
  readonly engine: Engine;
  readonly name: string;
  readonly id: string;
  readonly engineId: string;
}

/** Runs one operation after the other on images of its own, and now and then on one that all share. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #images: readonly string[];
  readonly #known = new Map<string, ReadonlyMap<string, TagState>>();
  /** What a killed operation may still bring about: an engine goes on with what it has received. */
  readonly #pending = new Map<string, string | null>();
  readonly #durations = new Map<string, number>();
  #archives: SoakImage[] = [];
  #saved: (LocalFound & { readonly path: string }) | null = null;
  /** Faults that struck the running operation. */
  struck: FaultKind[] = [];

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#images = ["a", "b"].map((letter) => `w${options.number}-${letter}`);
  }

  /** The images that nobody else writes. */
  get images(): readonly string[] {
    return this.#images;
  }

  get coldStore(): string {
    return join(this.#options.folder, `cold-${this.#options.number}`);
  }

  /** Compares all of this worker's tags with what they were. */
  async recheck(): Promise<void> {
    for (const image of this.#images) {
      for (const place of [...engines, ...registries]) {
        const before = this.#known.get(`${place}/${image}`);
        const now = await this.#read(place, image);
        if (before !== undefined)
          await this.#compare(`${place}/${image}, looked at again`, place, image, before, now, []);
      }
    }
  }

  async step(): Promise<void> {
    const { dice, ledger, program, env, fronts, killRate, crashes, judge } = this.#options;
    const operation = await this.#choose();
    const contested = operation.writes.filter(({ image }) => image === contestedImage);
    const own = operation.writes.filter(({ image }) => image !== contestedImage);
    const before = new Map<string, ReadonlyMap<string, TagState>>();
    for (const { place, image } of own) before.set(`${place}/${image}`, await this.#knownOf(place, image));
    const ends = contested.map(({ place, tag, id }) => this.#options.contested.begin(`${place}:${tag}`, id ?? null));

    this.struck = [];
    const crashesBefore = crashes();
    const usual = this.#durations.get(operation.what) ?? 1_500;
    const kill =
      (operation.writes.length > 0 || operation.what === "prune") && dice.chance(killRate)
        ? { signal: dice.chance(0.75) ? ("SIGKILL" as const) : ("SIGINT" as const), after: dice.next() * usual }
        : null;
    const cold = operation.writes.some(({ place }) => place === "docker") || operation.args.includes("docker");
    const extra = [
      ...(cold && dice.chance(0.6) ? await this.#cold() : []),
      "--json",
      ...(dice.chance(0.3) ? ["--progress", "json"] : []),
      ...(dice.chance(0.1) ? ["--debug"] : []),
    ];
    const run = await runLading([...operation.args, ...extra], { program, env, kill });
    await Promise.all(registries.map((name) => fronts[name].settled()));
    if (run.sent === null) this.#durations.set(operation.what, usual * 0.8 + run.ms * 0.2);
    else {
      ledger.kills[kill?.signal ?? "SIGKILL"] += 1;
      // What the killed one had handed to an engine is worked off meanwhile.
      await sleep(operation.writes.some(({ place }) => place === "docker") ? 1_000 : 100);
    }

    const judged = await judge.judge(run, operation.args[0] ?? "");
    const done = judged.outcome === "done";
    const expected = operation.mayFail.includes(judged.code);
    const how = judged.outcome !== "failed" ? judged.outcome : `${expected ? "refused" : "failed"}: ${judged.code}`;
    ledger.outcome(operation.what, how);
    for (const end of ends) end(done);
    await this.#judgeFailure(operation, run, judged, crashes() > crashesBefore);
    if (done && operation.judgeResult !== undefined && judged.result !== null) {
      const wrong = operation.judgeResult(judged.result);
      await ledger.check("N7", wrong === null ? null : `${run.args.join(" ")}: ${wrong}: ${run.stdout.slice(0, 2000)}`);
    }
    await this.#judgeTags(operation, run, done, before, own, contested);
    if (done) await operation.after?.();
  }

  /** For transfers with Docker: another store, in which what they need is seldom there already. */
  async #cold(): Promise<readonly string[]> {
    if (this.#options.dice.chance(0.5)) await rm(this.coldStore, { recursive: true, force: true });
    return ["--store", this.coldStore];
  }

  async #judgeFailure(operation: Operation, run: LadingRun, judged: JudgedRun, crashed: boolean): Promise<void> {
    if (judged.outcome !== "failed" || operation.mayFail.includes(judged.code)) return;
    const corrupted = this.struck.some((kind) => kind.startsWith("byte"));
    const excused =
      (this.struck.length > 0 || crashed) && ["unreachable", "rate-limited"].includes(judged.code)
        ? true
        : corrupted && ["digest-mismatch", "size-mismatch"].includes(judged.code);
    const told = `faults ${this.struck.join(", ") || "none"}${crashed ? ", serve was killed" : ""}`;
    await this.#options.ledger.say(`failed: ${run.args.join(" ")} (${told}): ${run.stderr.trim().slice(-1500)}`);
    await this.#options.ledger.check("N7", excused ? null : `${run.args.join(" ")} ended with ${judged.code}; ${told}`);
  }

  async #judgeTags(
    operation: Operation,
    run: LadingRun,
    done: boolean,
    before: ReadonlyMap<string, ReadonlyMap<string, TagState>>,
    own: readonly Write[],
    contested: readonly Write[],
  ): Promise<void> {
    const { ledger } = this.#options;
    for (const key of new Set(own.map(({ place, image }) => `${place}/${image}`))) {
      const [place = "own", image = ""] = key.split("/") as [PlaceName, string];
      const now = await this.#read(place, image);
      const writes = own.filter((write) => write.place === place && write.image === image);
      const told = `${run.args.join(" ")} (${done ? "done" : `ended with ${run.exit ?? run.signal}`}) at ${key}`;
      for (const { tag, id } of writes) {
        const state = now.get(tag)?.id ?? null;
        const old = before.get(key)?.get(tag)?.id ?? null;
        const possible = id === undefined || state === id || (!done && state === old);
        await ledger.check(
          "N3",
          possible ? null : `${told}: ${tag} is ${state}, was ${old}, ${done ? "has to be" : "may become"} ${id}`,
        );
        if (run.sent !== null && !done && id !== undefined && place === "docker")
          this.#pending.set(`${key}:${tag}`, id);
        else this.#pending.delete(`${key}:${tag}`);
      }
      await this.#compare(
        told,
        place,
        image,
        before.get(key) ?? new Map(),
        now,
        writes.map(({ tag }) => tag),
      );
    }
    for (const { place, tag } of contested) await this.#options.contested.look(place, tag);
    void operation;
  }

  /** Tags that were not written are what they were, and everything that is there is whole. */
  async #compare(
    told: string,
    place: PlaceName,
    image: string,
    before: ReadonlyMap<string, TagState>,
    now: ReadonlyMap<string, TagState>,
    written: readonly string[],
  ): Promise<void> {
    const { ledger } = this.#options;
    for (const tag of new Set([...before.keys(), ...now.keys()])) {
      const [old, state] = [before.get(tag)?.id ?? null, now.get(tag)?.id ?? null];
      if (!written.includes(tag) && old !== state) {
        const late = this.#pending.get(`${place}/${image}:${tag}`);
        await ledger.check("N3", late === state ? null : `${told}: ${tag} was ${old}, is ${state}`);
      }
      const broken = now.get(tag)?.broken ?? null;
      if (now.has(tag)) await ledger.check("N2", broken === null ? null : `${told}: ${tag} is not whole: ${broken}`);
    }
  }

  async #read(place: PlaceName, image: string): Promise<ReadonlyMap<string, TagState>> {
    const view = this.#options.places[place];
    const states = await view.read(registries.includes(place as RegistryName) ? `tester/${image}` : image);
    this.#known.set(`${place}/${image}`, states);
    return states;
  }

  /** As it was at the last look; looked at now where a killed operation may have had a late effect. */
  async #knownOf(place: PlaceName, image: string): Promise<ReadonlyMap<string, TagState>> {
    const key = `${place}/${image}`;
    const known = this.#known.get(key);
    const late = [...this.#pending.keys()].some((one) => one.startsWith(`${key}:`));
    if (known !== undefined && !late) return known;
    const now = await this.#read(place, image);
    if (known !== undefined) await this.#compare(`${key}, after a kill`, place, image, known, now, []);
    return now;
  }

  #remote(registry: RegistryName, image: string, tag: string | null): string {
    const name = `image://${registry}${this.#options.number}/tester/${image}`;
    return tag === null ? name : `${name}:${tag}`;
  }

  async #choose(): Promise<Operation> {
    const { dice } = this.#options;
    for (;;) {
      const operation = await dice.weighted<() => Promise<Operation | null>>([
        [10, () => this.#load()],
        [3, () => this.#tag()],
        [4, () => this.#rmi()],
        [4, () => this.#save()],
        [3, () => this.#loadSaved()],
        [22, () => this.#push()],
        [22, () => this.#pull()],
        [8, () => this.#copy()],
        [6, () => this.#rm()],
        [2, () => this.#rmDigest()],
        [10, () => this.#look()],
        [2, () => this.#tidy()],
      ])();
      if (operation !== null) return operation;
    }
  }

  async #load(): Promise<Operation> {
    const { dice, images } = this.#options;
    const engine = dice.pick(engines);
    let image = this.#archives.length > 3 && dice.chance(0.4) ? dice.pick(this.#archives) : null;
    if (image === null) {
      image = await images.make(`${dice.pick(this.#images)}:${dice.pick(tags)}`);
      this.#archives.push(image);
      for (const old of this.#archives.splice(0, this.#archives.length - archivesKept))
        await rm(old.archive, { recursive: true });
    }
    const { archive, name } = image;
    const id = engine === "store" ? image.id : image.engineId;
    return {
      what: `load ${engine}`,
      args: ["load", archive, "--force", "--engine", engine],
      writes: [this.#localWrite(engine, name, id)],
      mayFail: [],
    };
  }

  async #tag(): Promise<Operation | null> {
    const source = await this.#localImage();
    if (source === null) return null;
    const { dice } = this.#options;
    const target = `${dice.pick(this.#images)}:${dice.pick(tags)}`;
    return {
      what: `tag ${source.engine}`,
      args: ["tag", source.name, target, "--engine", source.engine],
      writes: [this.#localWrite(source.engine, target, source.id)],
      mayFail: [],
    };
  }

  async #rmi(): Promise<Operation | null> {
    const found = await this.#localImage();
    if (found === null) return null;
    return {
      what: `rmi ${found.engine}`,
      args: ["rmi", found.name, "--engine", found.engine],
      writes: [this.#localWrite(found.engine, found.name, null)],
      mayFail: [],
    };
  }

  async #save(): Promise<Operation | null> {
    const found = await this.#localImage();
    if (found === null) return null;
    const { dice, folder } = this.#options;
    if (this.#saved !== null) await rm(this.#saved.path, { recursive: true, force: true });
    this.#saved = null;
    // The older archive holds no index.
    const forms =
      found.id === found.engineId ? ["docker-archive", "oci-archive", "oci-dir"] : ["oci-archive", "oci-dir"];
    const form = dice.pick(forms);
    const path = join(folder, `saved-${this.#options.number}`);
    await rm(path, { recursive: true, force: true });
    return {
      what: `save ${found.engine}`,
      args: ["save", found.name, "--engine", found.engine, "--as", form, "--output", path],
      writes: [],
      mayFail: [],
      after: async () => {
        this.#saved = { ...found, path };
      },
    };
  }

  async #loadSaved(): Promise<Operation | null> {
    if (this.#saved === null) return null;
    const { path, name, id, engineId } = this.#saved;
    const engine = this.#options.dice.pick(engines);
    return {
      what: `load (saved) ${engine}`,
      args: ["load", path, "--force", "--engine", engine],
      writes: [this.#localWrite(engine, name, engine === "store" ? id : engineId)],
      mayFail: [],
    };
  }

  async #push(): Promise<Operation | null> {
    const found = await this.#localImage();
    if (found === null) return null;
    const { dice } = this.#options;
    const registry = dice.pick(registries);
    const [image, tag] = this.#remoteTarget();
    return {
      what: `push ${found.engine} to ${registry}`,
      args: ["push", found.name, this.#remote(registry, image, tag), "--engine", found.engine],
      writes: [{ place: registry, image, tag, id: found.id }],
      mayFail: [],
    };
  }

  async #pull(): Promise<Operation | null> {
    const { dice, contested } = this.#options;
    const registry = dice.pick(registries);
    const engine = dice.pick(engines);
    const local = `${dice.pick(this.#images)}:${dice.pick(tags)}`;
    if (dice.chance(0.15)) {
      const tag = dice.pick(contestedTags);
      if (!contested.exists(`${registry}:${tag}`)) return null;
      return {
        what: `pull ${registry} to ${engine}`,
        args: ["pull", this.#remote(registry, contestedImage, tag), local, "--engine", engine],
        writes: [this.#localWrite(engine, local, undefined)],
        mayFail: [],
      };
    }
    const found = await this.#remoteImage(registry);
    if (found === null) return null;
    return {
      what: `pull ${registry} to ${engine}`,
      args: ["pull", this.#remote(registry, found.image, found.tag), local, "--engine", engine],
      writes: [this.#localWrite(engine, local, found.state.engineId)],
      mayFail: [],
      judgeResult: ({ digest }) => (digest === found.state.digest ? null : `digest is not ${found.state.digest}`),
    };
  }

  async #copy(): Promise<Operation | null> {
    const { dice } = this.#options;
    const source = dice.pick(registries);
    const found = await this.#remoteImage(source);
    if (found === null) return null;
    const destination = dice.chance(0.8) ? (source === "own" ? "other" : "own") : source;
    const [image, tag] = this.#remoteTarget();
    return {
      what: `copy ${source} to ${destination}`,
      args: ["copy", this.#remote(source, found.image, found.tag), this.#remote(destination, image, tag)],
      writes: [{ place: destination, image, tag, id: found.state.id }],
      mayFail: [],
      judgeResult: ({ digest }) => (digest === found.state.digest ? null : `digest is not ${found.state.digest}`),
    };
  }

  async #rm(): Promise<Operation | null> {
    const registry = this.#options.dice.pick(registries);
    const found = await this.#remoteImage(registry);
    if (found === null) return null;
    const { image, tag, state } = found;
    const known = [...(await this.#knownOf(registry, image)).values()];
    const shared = known.filter(({ digest, children }) => digest === state.digest || children.includes(state.digest));
    return {
      what: `rm tag ${registry}`,
      args: ["rm", this.#remote(registry, image, tag), "--yes"],
      writes: [{ place: registry, image, tag, id: null }],
      // This one can't delete a tag alone.
      mayFail: registry === "other" && shared.length > 1 ? ["conflict"] : [],
    };
  }

  async #rmDigest(): Promise<Operation | null> {
    const registry = this.#options.dice.pick(registries);
    const found = await this.#remoteImage(registry);
    if (found === null) return null;
    const { image, state } = found;
    const all = [...(await this.#knownOf(registry, image))];
    // By force it would go out of the index too, which is what force is for, and no index is whole after it.
    if (all.some(([, { children }]) => children.includes(state.digest))) return null;
    const known = all.filter(([, { digest }]) => digest === state.digest);
    return {
      what: `rm digest ${registry}`,
      args: ["rm", `${this.#remote(registry, image, null)}@${state.digest}`, "--yes", "--force"],
      writes: known.map(([tag]) => ({ place: registry, image, tag, id: null })),
      mayFail: [],
    };
  }

  /** Removes from the store what no image needs, beside everything that runs; or reads it all. */
  async #tidy(): Promise<Operation> {
    const prune = this.#options.dice.chance(0.7);
    return {
      what: prune ? "prune" : "verify",
      args: prune ? ["prune", "--older-than", "60s"] : ["verify"],
      writes: [],
      mayFail: [],
    };
  }

  async #look(): Promise<Operation | null> {
    const { dice } = this.#options;
    const registry = dice.pick(registries);
    const found = await this.#remoteImage(registry);
    if (found === null) return null;
    const { image, tag, state } = found;
    const remote = this.#remote(registry, image, tag);
    const known = await this.#knownOf(registry, image);
    return dice.pick<() => Operation>([
      () => ({
        what: `digest ${registry}`,
        args: ["digest", remote],
        writes: [],
        mayFail: [],
        judgeResult: ({ digest }) => (digest === state.digest ? null : `digest is not ${state.digest}`),
      }),
      () => ({
        what: `tags ${registry}`,
        args: ["tags", this.#remote(registry, image, null), ...(dice.chance(0.5) ? ["-l"] : [])],
        writes: [],
        mayFail: [],
        judgeResult: ({ tags: listed }) => {
          const names = (listed as { readonly tag: string }[]).map((one) => one.tag).sort();
          const wanted = [...known.keys()].sort();
          return names.join() === wanted.join() ? null : `tags are not ${wanted.join()}`;
        },
      }),
      () => ({ what: `inspect ${registry}`, args: ["inspect", remote], writes: [], mayFail: [] }),
      () => ({ what: `size ${registry}`, args: ["size", remote], writes: [], mayFail: [] }),
      () => ({
        what: `ls ${registry}`,
        args: ["ls", "--cluster", `${registry}${this.#options.number}`],
        writes: [],
        mayFail: [],
      }),
      () => ({ what: "images", args: ["images", "--engine", dice.pick(engines)], writes: [], mayFail: [] }),
      () => ({
        what: `digest ${registry}, absent`,
        args: ["digest", this.#remote(registry, image, "never")],
        writes: [],
        mayFail: ["not-found"],
        judgeResult: () => "a tag that was never there has a digest",
      }),
    ])();
  }

  #remoteTarget(): readonly [image: string, tag: string] {
    const { dice } = this.#options;
    return dice.chance(0.15) ? [contestedImage, dice.pick(contestedTags)] : [dice.pick(this.#images), dice.pick(tags)];
  }

  #localWrite(engine: Engine, name: string, id: string | null | undefined): Write {
    const [image = "", tag = ""] = name.split(":");
    return { place: engine, image, tag, id };
  }

  async #localImage(): Promise<LocalFound | null> {
    const { dice } = this.#options;
    const engine = dice.pick(engines);
    const image = dice.pick(this.#images);
    const known = [...(await this.#knownOf(engine, image))];
    if (known.length === 0) return null;
    const [tag, { id, engineId }] = dice.pick(known);
    return { engine, name: `${image}:${tag}`, id, engineId };
  }

  async #remoteImage(
    registry: RegistryName,
  ): Promise<{ readonly image: string; readonly tag: string; readonly state: TagState } | null> {
    const { dice } = this.#options;
    const image = dice.pick(this.#images);
    const known = [...(await this.#knownOf(registry, image))];
    if (known.length === 0) return null;
    const [tag, state] = dice.pick(known);
    return { image, tag, state };
  }
}
