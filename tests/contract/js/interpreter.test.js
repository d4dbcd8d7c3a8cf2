// E2B's code interpreter for JavaScript against the template that comes with Sandlot.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Sandbox } from '@e2b/code-interpreter'

let sandbox
before(async () => {
  sandbox = await Sandbox.create({ timeoutMs: 300_000 })
})
after(() => sandbox?.kill())

test('what one cell defines is there for the next', async () => {
  await sandbox.runCode('x = 1')
  assert.equal((await sandbox.runCode('x += 1; x')).text, '2')
})

test('a chart comes as a picture and as data', async () => {
  const code = 'import matplotlib.pyplot as plt\nplt.bar(["a", "b"], [1, 2])\nplt.title("A title")\nplt.show()'
  const { results: [result] } = await sandbox.runCode(code)
  assert.deepEqual([...Buffer.from(result.png, 'base64').subarray(1, 4)], [...Buffer.from('PNG')])
  assert.equal(result.chart.type, 'bar')
  assert.equal(result.chart.title, 'A title')
  assert.deepEqual(result.chart.elements.map(({ label, value }) => [label, value]), [['a', 1], ['b', 2]])
})

test('a table comes as data', async () => {
  const { results: [result] } = await sandbox.runCode('import pandas\npandas.DataFrame({"a": [1, 2]})')
  assert.deepEqual(result.data, { a: [1, 2] })
})

test('output arrives while the code runs', async () => {
  const shown = []
  const code = 'import sys\nprint("out")\nprint("err", file=sys.stderr)'
  await sandbox.runCode(code, {
    onStdout: ({ line }) => void shown.push(['out', line]),
    onStderr: ({ line }) => void shown.push(['err', line]),
  })
  assert.deepEqual(shown.sort(), [['err', 'err\n'], ['out', 'out\n']])
})

test('an exception comes with its traceback', async () => {
  const { error } = await sandbox.runCode('def fail():\n    1 / 0\nfail()')
  assert.equal(error.name, 'ZeroDivisionError')
  assert.match(error.traceback, /fail\(\)/)
})

test('contexts do not share what they define', async () => {
  const [one, two] = [await sandbox.createCodeContext(), await sandbox.createCodeContext()]
  await sandbox.runCode('y = 1', { context: one })
  assert.equal((await sandbox.runCode('y', { context: two })).error.name, 'NameError')
  assert.equal((await sandbox.runCode('y', { context: one })).text, '1')
})

test('JavaScript code', async () => {
  await sandbox.runCode('const a = [1, 2]', { language: 'js' })
  assert.equal((await sandbox.runCode('a.length + await 1', { language: 'js' })).text, '3')
})

test('code that takes too long is interrupted', async () => {
  await assert.rejects(sandbox.runCode('import time; time.sleep(60)', { timeoutMs: 1_000 }), { name: 'TimeoutError' })
  assert.equal((await sandbox.runCode('1 + 1', { timeoutMs: 30_000 })).text, '2')
})
