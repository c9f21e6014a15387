#!/usr/bin/env node
// What the binary is made of, as CycloneDX 1.5, from Cargo.lock: each crate that is compiled into it, with the checksum
// that the lock file demands of it. The same lock file gives the same bytes.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const lock = readFileSync(`${root}/Cargo.lock`, 'utf8');
const metadata = JSON.parse(execFileSync('cargo', ['metadata', '--locked', '--format-version', '1', '--filter-platform', 'x86_64-unknown-linux-gnu'], { cwd: root, maxBuffer: 1 << 28 }));

const checksums = new Map();
for (const entry of lock.split('[[package]]').slice(1)) {
  const field = (name) => new RegExp(`^${name} = "(.*)"$`, 'm').exec(entry)?.[1];
  checksums.set(`${field('name')} ${field('version')}`, field('checksum'));
}

const nodes = new Map(metadata.resolve.nodes.map((node) => [node.id, node]));
const packages = new Map(metadata.packages.map((one) => [one.id, one]));
const own = metadata.packages.find(({ name, source }) => name === 'onlycare-signaling' && source === null);

// Dependencies of tests and of build scripts are not in the binary.
const needed = (id) => nodes.get(id).deps.filter(({ dep_kinds }) => dep_kinds.some(({ kind }) => kind === null)).map(({ pkg }) => pkg);
const found = new Set([own.id]);
for (const id of found) needed(id).forEach((dependency) => found.add(dependency));

const purl = ({ name, version }) => `pkg:cargo/${name}@${version}`;
const byName = (one, other) => (one < other ? -1 : 1);
const component = (one, type) => {
  const checksum = checksums.get(`${one.name} ${one.version}`);
  return {
    type,
    'bom-ref': purl(one),
    name: one.name,
    version: one.version,
    ...(one.description && type === 'application' ? { description: one.description } : {}),
    ...(checksum ? { hashes: [{ alg: 'SHA-256', content: checksum }] } : {}),
    ...(one.license ? { licenses: [{ expression: one.license.replaceAll('/', ' OR ') }] } : {}),
    purl: purl(one),
  };
};
const all = [...found].map((id) => packages.get(id));
const digest = createHash('sha256').update(lock).digest('hex');
const uuid = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-5${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
const sbom = {
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  serialNumber: `urn:uuid:${uuid}`,
  version: 1,
  metadata: { component: component(own, 'application') },
  components: all.filter(({ id }) => id !== own.id).map((one) => component(one, 'library')).sort((one, other) => byName(one.purl, other.purl)),
  dependencies: all
    .map((one) => ({ ref: purl(one), dependsOn: needed(one.id).map((id) => purl(packages.get(id))).sort() }))
    .sort((one, other) => byName(one.ref, other.ref)),
};
process.stdout.write(`${JSON.stringify(sbom, null, 1)}\n`);
