// What a user of the official JavaScript SDK does first. The endpoint and key come from the environment.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { CommandExitError, NotFoundError, Sandbox } from 'e2b'

async function inSandbox(body, options = {}) {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000, ...options })
  try {
    await body(sandbox)
  } finally {
    await sandbox.kill()
  }
}

test('streams output of a command', () =>
  inSandbox(async (sandbox) => {
    const out = []
    const err = []
    const result = await sandbox.commands.run('echo one; echo two >&2; echo three', {
      onStdout: (text) => void out.push(text),
      onStderr: (text) => void err.push(text),
    })
    assert.equal(result.exitCode, 0)
    assert.equal(result.stdout, 'one\nthree\n')
    assert.equal(result.stderr, 'two\n')
    assert.equal(out.join(''), result.stdout)
    assert.equal(err.join(''), result.stderr)
  }))

test('a failing command throws', () =>
  inSandbox(async (sandbox) => {
    await assert.rejects(sandbox.commands.run('echo out; exit 7'), (error) => {
      assert.ok(error instanceof CommandExitError)
      assert.equal(error.exitCode, 7)
      assert.equal(error.stdout, 'out\n')
      return true
    })
  }))

test('files as text and bytes', () =>
  inSandbox(async ({ files }) => {
    await files.write('deep/er/a.txt', 'héllo\n')
    assert.equal(await files.read('deep/er/a.txt'), 'héllo\n')
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
    await files.write('/tmp/raw', bytes.buffer)
    assert.deepEqual(await files.read('/tmp/raw', { format: 'bytes' }), bytes)
    assert.deepEqual((await files.list('deep/er')).map((entry) => entry.name), ['a.txt'])
    await files.rename('deep/er/a.txt', 'b.txt')
    assert.equal(await files.exists('deep/er/a.txt'), false)
    assert.equal(await files.makeDir('made'), true)
    assert.equal(await files.makeDir('made'), false)
    await files.remove('b.txt')
    await assert.rejects(files.read('b.txt'), NotFoundError)
  }))

test('fifty megabytes there and back', () =>
  inSandbox(async (sandbox) => {
    const data = Buffer.alloc(50 << 20, randomBytes(1 << 20))
    const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')
    await sandbox.files.write('big', new Blob([data]), { requestTimeoutMs: 120_000 })
    const told = await sandbox.commands.run("sha256sum big | cut -d' ' -f1")
    assert.equal(told.stdout.trim(), digest(data))
    const back = await sandbox.files.read('big', { format: 'bytes', requestTimeoutMs: 120_000 })
    assert.equal(digest(back), digest(data))
  }))

test('a background command takes input and dies', () =>
  inSandbox(async (sandbox) => {
    const handle = await sandbox.commands.run('head -n 1; sleep 60', { background: true, stdin: true })
    assert.ok((await sandbox.commands.list()).some(({ pid }) => pid === handle.pid))
    await sandbox.commands.sendStdin(handle.pid, 'through\n')
    assert.equal(await handle.kill(), true)
    await assert.rejects(handle.wait(), CommandExitError)
    assert.equal(await sandbox.commands.kill(handle.pid), false)
  }))

test('two commands at once', () =>
  inSandbox(async (sandbox) => {
    const command = (mine, other) =>
      `touch ${mine}; for _ in $(seq 100); do [ -e ${other} ] && exit 0; sleep 0.1; done; exit 1`
    const results = await Promise.all([
      sandbox.commands.run(command('a', 'b')),
      sandbox.commands.run(command('b', 'a')),
    ])
    assert.deepEqual(results.map(({ exitCode }) => exitCode), [0, 0])
  }))

test('a terminal', () =>
  inSandbox(async (sandbox) => {
    let seen = ''
    const terminal = await sandbox.pty.create({
      cols: 100,
      rows: 30,
      onData: (bytes) => void (seen += Buffer.from(bytes)),
    })
    await sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode('tput cols; exit 3\n'))
    await assert.rejects(terminal.wait(), (error) => error.exitCode === 3)
    assert.match(seen, /100/)
  }))

test('timeout, info, list and metadata', async () => {
  const mark = `weird & = % ${randomUUID()}`
  await inSandbox(
    async (sandbox) => {
      await sandbox.setTimeout(600_000)
      const info = await sandbox.getInfo()
      assert.ok(info.endAt - info.startedAt > 500_000)
      assert.equal(info.metadata.mark, mark)
      const found = await Sandbox.list({ query: { metadata: { mark } } }).nextItems()
      assert.deepEqual(found.map(({ sandboxId }) => sandboxId), [sandbox.sandboxId])
    },
    { metadata: { mark } }
  )
})

test('another process connects', () =>
  inSandbox(async (sandbox) => {
    await sandbox.files.write('note', 'left here')
    const script = `import { Sandbox } from 'e2b'
      const sandbox = await Sandbox.connect('${sandbox.sandboxId}')
      console.log(await sandbox.files.read('note'))`
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 60_000 })
    assert.equal(done.stdout, 'left here\n', done.stderr)
  }))

test('killed twice, and gone after its timeout', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.kill(), false)
  assert.equal(await sandbox.isRunning(), false)

  const short = await Sandbox.create({ timeoutMs: 2_000 })
  const deadline = Date.now() + 4_000
  while (await short.isRunning()) {
    assert.ok(Date.now() < deadline, 'still answers two seconds after its end')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
})
