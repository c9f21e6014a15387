// The image and what publishes it: the Dockerfile, the SBOM, the workflows of the public CI.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const read = (path) => readFileSync(join(root, path), 'utf8');
const dockerfile = read('Dockerfile');
const instructions = dockerfile.replace(/^#.*\n/gm, '').replace(/\\\n/g, ' ').split('\n').filter(Boolean);

if (tool('hadolint')) {
  await check('hadolint', () => {
    const { ok, text } = run(tool('hadolint'), [join(root, 'Dockerfile')]);
    assert(ok, text);
  });
} else skip('hadolint', 'it is not there');

await check('the target follows the platform', () => {
  assert(!/x86_64|aarch64|amd64|arm64/.test(instructions.join('\n')), 'an architecture is named');
  const builds = instructions.filter((line) => line.includes('cargo build'));
  assert(builds.length === 2 && builds.every((line) => /--target "\$TARGET"/.test(line) && line.includes('rustc -vV')), builds.join('\n'));
});

await check('nothing is fetched by a name that moves, unless it is an argument', () => {
  const from = instructions.filter((line) => line.startsWith('FROM '));
  assert(`${from}` === 'FROM ${RUST_IMAGE} AS build,FROM scratch', `${from}`);
});

await check('the health check follows ADMIN_PORT', () => {
  const line = instructions.find((one) => one.startsWith('HEALTHCHECK'));
  const [program, ...args] = JSON.parse(/CMD (\[.*\])$/.exec(line)[1]);
  assert(program === '/bin/onlycare-signaling' && `${args}` === '--health', line);
  assert(!/\b(9001|3001)\b/.test(line), line);
});

await check('labels say what it is, from where', () => {
  for (const label of ['title', 'description', 'licenses', 'version', 'revision', 'created', 'source', 'documentation']) {
    assert(dockerfile.includes(`org.opencontainers.image.${label}=`), label);
  }
});

await check('it is nobody, and has one program', () => {
  assert(instructions.includes('USER 65532:65532') && instructions.includes('ENTRYPOINT ["/bin/onlycare-signaling"]'), 'another user or program');
  const installed = dockerfile.match(/\/image\/\S+/g).filter((path) => !path.endsWith('/onlycare-signaling'));
  assert(installed.every((path) => path.startsWith('/image/etc/ssl/')), `${installed}`);
});

await check('the SBOM is the lock file, twice the same', () => {
  const [first, second] = [0, 1].map(() => run(join(root, 'scripts/sbom.mjs'), []));
  assert(first.ok, first.text);
  assert(first.stdout === second.stdout, 'two runs differ');
  const sbom = JSON.parse(first.stdout);
  const lock = read('Cargo.lock');
  assert(sbom.bomFormat === 'CycloneDX' && sbom.metadata.component.name === 'onlycare-signaling', 'not ours');
  assert(sbom.components.length > 100, `${sbom.components.length} components`);
  for (const { name, version, hashes, licenses } of sbom.components) {
    assert(lock.includes(`name = "${name}"\nversion = "${version}"\n`), `${name} ${version} is not in Cargo.lock`);
    assert(lock.includes(hashes?.[0].content ?? '?'), `${name} has no checksum`);
    assert(licenses, `${name} has no licence`);
  }
  const names = sbom.components.map(({ name }) => name);
  for (const used of ['tokio', 'axum', 'fred', 'socketioxide', 'rustls']) assert(names.includes(used), `${used} is missing`);
  for (const test of ['proptest', 'tempfile', 'windows-sys']) assert(!names.includes(test), `${test} is not in the binary`);
  const refs = new Set(sbom.dependencies.map(({ ref }) => ref));
  assert(sbom.dependencies.every(({ dependsOn }) => dependsOn.every((one) => refs.has(one))), 'a dependency is no component');
});

const workflows = readdirSync(join(root, '.github/workflows')).map((name) => `.github/workflows/${name}`);
if (tool('actionlint')) {
  await check('actionlint', () => {
    const shellcheck = tool('shellcheck') ? ['-shellcheck', tool('shellcheck')] : [];
    const { ok, text } = run(tool('actionlint'), [...shellcheck, '-pyflakes', '', ...workflows], { cwd: root });
    assert(ok, text);
  });
} else skip('actionlint', 'it is not there');

await check('workflows call what is there, and have no more rights than they use', () => {
  const targets = read('Makefile').match(/^[a-z-]+(?=:)/gm);
  for (const file of workflows) {
    const workflow = yaml(read(file))[0];
    assert(`${JSON.stringify(workflow.permissions)}` === '{"contents":"read"}', `${file}: rights`);
    const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);
    for (const { run: script = '' } of steps) {
      for (const [, target] of script.matchAll(/\bmake ([a-z-]+)/g)) assert(targets.includes(target), `${file}: make ${target}`);
      for (const [path] of script.matchAll(/\bscripts\/[\w.-]+/g)) assert(read(path), path);
    }
  }
});

await check('images and actions are pinned by digest as soon as somebody looks their digests up', () => {
  const { extends: presets, packageRules } = JSON.parse(read('renovate.json'));
  for (const preset of ['docker:pinDigests', 'helpers:pinGitHubActionDigests']) assert(presets.includes(preset), preset);
  // A digest in the Dockerfile would be written behind that of the workflow.
  const rust = packageRules.find(({ matchPackageNames }) => `${matchPackageNames}` === 'rust');
  assert(rust.pinDigests === false && read('.github/workflows/release.yml').includes('image=$name@$digest'), 'rust');
  assert(packageRules.some(({ matchPackageNames, enabled }) => `${matchPackageNames}` === 'onlycare-signaling' && enabled === false), 'our own image is looked for');
});

await check('what is published is signed, from the tag that is the version', () => {
  const release = read('.github/workflows/release.yml');
  for (const part of ['cosign sign --yes --recursive', 'cosign attest --yes --type cyclonedx', 'cosign sign-blob', 'helm push', 'linux/arm64', 'the tag is the version', 'cmp second']) {
    assert(release.includes(part), part);
  }
});

finish('image');
