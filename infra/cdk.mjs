#!/usr/bin/env node
// `npx cdk` on a clone without node_modules: npx finds this bin of package.json, which makes them and hands over.
import { spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))));
const cdk = join(root, "node_modules", "aws-cdk", "bin", "cdk");

function run(command, args) {
  const done = spawnSync(command, args, { stdio: "inherit", cwd: root });
  if (done.error) {
    console.error(`penstock: ${command} could not be run: ${done.error.message}`);
    process.exit(1);
  }
  if (done.status !== 0) process.exit(done.status ?? 1);
}

if (!existsSync(cdk)) run("make", ["--silent", "tools", "node_modules/.made"]);
run(process.execPath, [cdk, ...process.argv.slice(2)]);
