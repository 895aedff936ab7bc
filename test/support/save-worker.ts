// Runs as a process of its own, bundled by store-process.ts: `<home> <first>`. Saves a password and an owner, numbered from
// `first`, over and over, and says which number both files have, until it is killed.
import { storeCredential } from "../../src/config/credential-storage.js";
import { configPath, writeConfigFile } from "../../src/config/file.js";

const [home = "", first = "0"] = process.argv.slice(2);
const env = { HOME: home };

for (let number = Number(first); ; number += 1) {
  const password = `${number}-`.padEnd(200 + (number % 5) * 400, "x");
  await storeCredential({ env, registry: "saved.example", credential: { username: "carol", password } });
  await writeConfigFile(configPath(env), { owner: `carol${number}` });
  console.log(`saved ${number}`);
}
