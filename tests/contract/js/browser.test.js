// A real browser: an application that runs inside a sandbox, and the official SDK in a page. The browser trusts this
// machine's authority as `sandlot trust` says, and finds every sandbox by its own name.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Sandbox } from 'e2b'
import { build } from 'esbuild'
import puppeteer from 'puppeteer-core'

const LARGE = 50_000_000
const PORT = 8000
const { E2B_DOMAIN: domain, E2B_API_KEY: apiKey, NODE_EXTRA_CA_CERTS: authority } = process.env
let home, browser, sandbox

const SERVER = `
const { createReadStream, readFileSync, statSync } = require('fs')
const { createServer } = require('http')
const { WebSocketServer } = require('./ws.cjs')
const types = { html: 'text/html', js: 'text/javascript', bin: 'application/octet-stream' }
const server = createServer((request, response) => {
  const file = '/home/user/site' + (request.url === '/' ? '/index.html' : request.url)
  try {
    response.writeHead(200, { 'Content-Type': types[file.split('.').pop()], 'Content-Length': statSync(file).size })
    createReadStream(file).pipe(response)
  } catch {
    response.writeHead(404).end()
  }
})
new WebSocketServer({ server, path: '/talk' }).on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(isBinary ? data : 'you said ' + data, { binary: isBinary }))
})
server.listen(${PORT}, '127.0.0.1', () => console.log('listening'))
`

const PAGE = `<!doctype html><title>app</title><h1>Served from a sandbox</h1><script src="sdk.js"></script>`

// The SDK imports what only Node has at its top, and uses it there alone.
const withoutNode = {
  name: 'without-node',
  setup(building) {
    building.onResolve({ filter: /^(node:|undici$)/ }, ({ path }) => ({ path, namespace: 'none' }))
    building.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'module.exports = {}' }))
  },
}

async function bundle(options) {
  const { outputFiles } = await build({ bundle: true, write: false, logLevel: 'error', ...options })
  return outputFiles[0].text
}

before(async () => {
  home = mkdtempSync(join(tmpdir(), 'browser-'))
  const database = join(home, '.pki/nssdb')
  mkdirSync(database, { recursive: true })
  execFileSync('certutil', ['-d', `sql:${database}`, '-N', '--empty-password'])
  execFileSync('certutil', ['-d', `sql:${database}`, '-A', '-t', 'C,,', '-n', 'sandlot', '-i', authority])
  browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM,
    userDataDir: join(home, 'profile'),
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server'],
    env: { ...process.env, HOME: home },
  })
  sandbox = await Sandbox.create({ timeoutMs: 200_000 })
  const ws = await bundle({ entryPoints: ['node_modules/ws/index.js'], platform: 'node', format: 'cjs' })
  const sdk = await bundle({
    stdin: { contents: "export { Sandbox } from 'e2b'", resolveDir: '.' },
    platform: 'browser',
    format: 'iife',
    globalName: 'e2b',
    plugins: [withoutNode],
  })
  await sandbox.files.write([
    { path: 'server.cjs', data: SERVER },
    { path: 'ws.cjs', data: ws },
    { path: 'site/index.html', data: PAGE },
    { path: 'site/sdk.js', data: sdk },
  ])
  await sandbox.commands.run(`head -c ${LARGE} /dev/urandom > site/large.bin`)
  const listening = defer()
  await sandbox.commands.run('node server.cjs', { background: true, timeoutMs: 0, onStdout: listening.resolve })
  await listening.promise
})

function defer() {
  const made = {}
  made.promise = new Promise((resolve) => (made.resolve = resolve))
  return made
}

after(async () => {
  await browser?.close()
  await sandbox?.kill()
  rmSync(home, { recursive: true, force: true })
})

async function open() {
  const page = await browser.newPage()
  const answer = await page.goto(`https://${sandbox.getHost(PORT)}/`)
  assert.equal(answer.status(), 200)
  assert.equal(await page.$eval('h1', (heading) => heading.textContent), 'Served from a sandbox')
  return page
}

test('an application with WebSockets and a large file', { timeout: 60_000 }, async () => {
  const page = await open()
  const replies = await page.evaluate(async () => {
    const socket = new WebSocket(`wss://${location.host}/talk`)
    socket.binaryType = 'arraybuffer'
    await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)))
    const next = () => new Promise((resolve) => (socket.onmessage = (event) => resolve(event.data)))
    const found = []
    for (const text of ['one', 'two']) {
      socket.send(text)
      found.push(await next())
    }
    socket.send(new Uint8Array(1_000_000).fill(7))
    const back = new Uint8Array(await next())
    found.push(back.length, back.every((byte) => byte === 7))
    const closed = new Promise((resolve) => (socket.onclose = resolve))
    socket.close(4000, 'enough')
    found.push((await closed).code)
    return found
  })
  assert.deepEqual(replies, ['you said one', 'you said two', 1_000_000, true, 4000])
  const digest = await page.evaluate(async () => {
    const data = await (await fetch('/large.bin')).arrayBuffer()
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data))
    return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  })
  const inside = await sandbox.commands.run('sha256sum site/large.bin')
  assert.equal(digest, inside.stdout.split(' ')[0])
  await page.close()
})

test('an error page that a person can read', { timeout: 60_000 }, async () => {
  const page = await browser.newPage()
  const answer = await page.goto(`https://${sandbox.getHost(PORT + 1)}/`)
  assert.equal(answer.status(), 502)
  assert.match(answer.headers()['content-type'], /^text\/html/)
  assert.ok((await page.$eval('body', (body) => body.textContent)).includes(sandbox.sandboxId))
  await page.close()
})

test('the SDK in a page: create, run, watch', { timeout: 60_000 }, async () => {
  const page = await open()
  const seen = await page.evaluate(
    async (options) => {
      const { Sandbox } = globalThis.e2b
      const made = await Sandbox.create({ ...options, timeoutMs: 60_000 })
      try {
        const told = []
        const result = await made.commands.run('echo from a page; echo aside >&2', {
          onStdout: (text) => void told.push(text),
        })
        await made.files.makeDir('watched')
        let notice
        const noticed = new Promise((resolve) => (notice = resolve))
        const watching = await made.files.watchDir('watched', (event) => notice(event))
        await made.files.write('watched/new.txt', 'content of a page')
        const event = await noticed
        await watching.stop()
        const listed = (await made.files.list('watched')).map((entry) => entry.name)
        return { result, told, event, listed, text: await made.files.read('watched/new.txt') }
      } finally {
        await made.kill()
      }
    },
    { domain, apiKey },
  )
  assert.deepEqual(seen.told, ['from a page\n'])
  assert.deepEqual([seen.result.stdout, seen.result.stderr, seen.result.exitCode], ['from a page\n', 'aside\n', 0])
  assert.deepEqual([seen.event.name, seen.event.type], ['new.txt', 'create'])
  assert.deepEqual([seen.listed, seen.text], [['new.txt'], 'content of a page'])
  await page.close()
})
