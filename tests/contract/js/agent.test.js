// The rest of what the official JavaScript SDK can do inside a sandbox: watching, terminals, URLs, metadata, git.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { CommandExitError, FileType, FilesystemEventType, InvalidArgumentError, NotFoundError, Sandbox, TimeoutError } from 'e2b'

let sandbox

before(async () => {
  sandbox = await Sandbox.create({ timeoutMs: 600_000 })
})

after(() => sandbox.kill())

async function until(condition, what) {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('a watcher sees each event, in folders made later too', async () => {
  await sandbox.files.makeDir('watched')
  const events = []
  const handle = await sandbox.files.watchDir('watched', (event) => void events.push(event), { recursive: true })
  await sandbox.files.write('watched/a', 'x')
  await sandbox.commands.run('mkdir -p watched/one/two; echo x > watched/one/two/b')
  await until(() => events.some(({ name }) => name === 'one/two/b'), 'the deep file is told of')
  assert.deepEqual(
    events.filter(({ name }) => name === 'a').map(({ type }) => type),
    [FilesystemEventType.CREATE, FilesystemEventType.CHMOD, FilesystemEventType.WRITE]
  )
  await handle.stop()
  await assert.rejects(sandbox.files.watchDir('/no/such', () => {}), NotFoundError)
  await assert.rejects(sandbox.files.watchDir('/etc/passwd', () => {}), InvalidArgumentError)
})

test('a terminal is resized and found again', async () => {
  let seen = ''
  const collect = (bytes) => void (seen += Buffer.from(bytes))
  const first = await sandbox.pty.create({ cols: 80, rows: 24, onData: collect })
  await first.disconnect()
  await sandbox.pty.resize(first.pid, { cols: 132, rows: 40 })
  const second = await sandbox.pty.connect(first.pid, { onData: collect })
  await sandbox.pty.sendInput(first.pid, new TextEncoder().encode('tput cols; tput lines\n'))
  await until(() => /132\r\n40\r\n/.test(seen), 'the new size shows')
  assert.equal(await sandbox.pty.kill(first.pid), true)
  await assert.rejects(second.wait(), CommandExitError)
})

test('a command goes on without its first listener, and ends at its deadline', async () => {
  const first = await sandbox.commands.run('read line; echo got $line', { background: true, stdin: true })
  await first.disconnect()
  const second = await sandbox.commands.connect(first.pid)
  await sandbox.commands.sendStdin(first.pid, 'it\n')
  assert.equal((await second.wait()).stdout, 'got it\n')
  await assert.rejects(sandbox.commands.run('sleep 30', { timeoutMs: 1_000 }), TimeoutError)
})

test('links, metadata and many files at once', async () => {
  await sandbox.commands.run('mkdir -p tree; touch tree/a; ln -s a tree/link')
  const link = await sandbox.files.getInfo('tree/link')
  assert.equal(link.type, FileType.FILE)
  assert.equal(link.symlinkTarget, '/home/user/tree/a')
  const written = await sandbox.files.write('meta', 'x', { metadata: { author: 'me' } })
  assert.deepEqual(written.metadata, { author: 'me' })
  await sandbox.files.write([
    { path: 'many/a', data: 'A' },
    { path: 'many/b', data: '' },
  ])
  assert.equal(await sandbox.files.read('many/b'), '')
})

test('signed URLs', async () => {
  await sandbox.files.write('signed file', 'by url')
  const url = await sandbox.downloadUrl('signed file', { useSignatureExpiration: 60 })
  assert.equal(await (await fetch(url)).text(), 'by url')
  const expired = await sandbox.downloadUrl('signed file', { useSignatureExpiration: -60 })
  const refusal = await fetch(expired)
  assert.equal(refusal.status, 401)
  assert.deepEqual(await refusal.json(), { code: 401, message: 'signature is already expired' })
})

test('git', async () => {
  await sandbox.git.init('repo', { initialBranch: 'main' })
  await sandbox.files.write('repo/file', 'text')
  await sandbox.git.add('repo')
  await sandbox.git.commit('repo', 'first', { authorName: 'A', authorEmail: 'a@example.com' })
  assert.equal((await sandbox.git.status('repo')).isClean, true)
})

test('a killed sandbox ends its streams with the reason', async () => {
  const doomed = await Sandbox.create({ timeoutMs: 60_000 })
  const handle = await doomed.commands.run('sleep 60', { background: true })
  await doomed.kill()
  await assert.rejects(handle.wait(), /killed or reached its end of life/)
})
